import streamlit as st

from pages.shared import header

project = header("prompts")
st.write("")
