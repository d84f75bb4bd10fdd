import streamlit as st

from pages.shared import header

project = header("hosts")
st.write("")
