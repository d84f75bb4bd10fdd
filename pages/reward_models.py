import streamlit as st

from pages.shared import header

project = header("reward_models")
st.write("")
