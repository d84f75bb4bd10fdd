import streamlit as st

from pages.shared import header

project = header("account")
st.write("")
