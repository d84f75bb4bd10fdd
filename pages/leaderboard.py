import streamlit as st

from pages.shared import header

project = header("leaderboard")
st.write("")
