"""The script behind every page: who is here, which pages they may open, then the page."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

import streamlit as st  # noqa: E402

from core.access import OWN, pages_for  # noqa: E402
from pages.shared import me  # noqa: E402

st.set_page_config(page_title="Prefloop", page_icon=str(ROOT / "static" / "icon.svg"), layout="wide")
st.logo(str(ROOT / "static" / "logo.svg"), size="large")

who = me()
groups: dict[str, list[st.Page]] = {}
for page in pages_for(who):
    # One's own account stands under one's name, so that it is seen who is signed in.
    group = f"{who.name} · {who.role}" if page.group == OWN else page.group
    path = page.file.removesuffix(".py")
    entry = st.Page(page.file, title=page.title, icon=page.icon, help=page.help, url_path=path)
    groups.setdefault(group, []).append(entry)
first = next(iter(groups.values()))[0]


def home() -> None:
    """The first page this person may open. A page of its own, because Streamlit gives the
    default page no path: a link to /annotate must work for those who start there."""
    st.switch_page(first, query_params=st.query_params.to_dict())


groups[""] = [st.Page(home, title="Prefloop", default=True, visibility="hidden"), *groups.get("", [])]
st.navigation(groups, position="top").run()
