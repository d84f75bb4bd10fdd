"""A browser's side of Streamlit's socket, small: connect, ask for a rerun, read texts."""

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import ClientConnection, connect

from tests.web.conftest import Site


def open_socket(site: Site, cookie: str = "", origin: str | None = None, **headers: str) -> ClientConnection:
    extra = {"Cookie": f"prefloop_sign_in={cookie}"} if cookie else {}
    return connect(
        site.ws,
        origin=origin or site.url,
        subprotocols=["streamlit"],
        additional_headers={**extra, **headers},
        max_size=None,
    )


def rerun(socket: ClientConnection, page: str = "account", timeout: float = 20) -> list[str]:
    """Ask for a run of a page; the texts it shows (headings, texts, alerts)."""
    message = BackMsg()
    message.rerun_script.page_name = page
    socket.send(message.SerializeToString())
    texts = []
    while True:
        said = ForwardMsg()
        said.ParseFromString(socket.recv(timeout=timeout))
        if said.WhichOneof("type") == "script_finished":
            return texts
        element = said.delta.new_element
        kind = element.WhichOneof("type")
        if kind in ("heading", "text", "alert", "markdown"):
            texts.append(getattr(element, kind).body)
