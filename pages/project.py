import streamlit as st

from pages.shared import header

project = header("project")
st.write("")
