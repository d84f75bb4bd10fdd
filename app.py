"""Prefloop: one ASGI app of pages, REST API, sign-in and the run supervisor.

Started by `make run` or `streamlit run app.py`; the latter goes through the checks of
`core.launch` first, which then starts this file again.
"""

import os

if not os.environ.get("PREFLOOP_LAUNCHED"):
    from core.launch import main

    main()  # does not return: it becomes the launched server, or says why not

import streamlit as st
from starlette.middleware import Middleware

from web.background import lifespan
from web.gate import Gate
from web.routes import routes

app = st.App("pages/main.py", routes=routes(), middleware=[Middleware(Gate)], lifespan=lifespan)
