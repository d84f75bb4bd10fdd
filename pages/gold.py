"""Gold: pairs whose answer is known. Annotators qualify on some of them, and are checked with
others; hidden repeats show who says the same twice."""

import streamlit as st

from core.annotation import gold, probing, qualification
from core.services import database
from pages.gold_pairs import show_adding, show_pairs
from pages.gold_people import show_people
from pages.gold_settings import sentences, show_settings
from pages.shared import header, may, me, problems

TABS = ["Gold pairs", "People", "What is asked"]

if said := st.session_state.pop("gold_said", ""):
    st.toast(said, icon=":material/check:")
project = header(
    "Gold", "Pairs whose answer you know: to train annotators before real pairs, and to check them later."
)
with problems():
    settings = probing.probing_of(database(), me(), project.id)
    pairs = gold.list_gold(database(), me(), project.id)
    people = qualification.people(database(), me(), project.id)
    manage = may("annotator.manage")
    training = sum(item.use == "training" for item in pairs)
    with st.container(border=True, gap="xsmall"):
        for icon, text in sentences(settings, training, len(pairs) - training, people):
            st.markdown(f":material/{icon}: {text}")
        if not manage:
            st.caption("A lead or an admin marks gold pairs and sets what is asked.")
    pair_tab, people_tab, settings_tab = st.tabs(TABS, key="gold_tab")
    with pair_tab:
        show_pairs(project, pairs, manage)
        if manage:
            show_adding(project, bool(pairs))
    with people_tab:
        show_people(project, settings, people, manage)
    with settings_tab:
        show_settings(project, settings, training, manage)
