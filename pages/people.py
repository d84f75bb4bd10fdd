import streamlit as st

from pages.shared import header

project = header("people")
st.write("")
