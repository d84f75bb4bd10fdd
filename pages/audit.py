import streamlit as st

from pages.shared import header

project = header("audit")
st.write("")
