import streamlit as st

from pages.shared import header

project = header("data")
st.write("")
