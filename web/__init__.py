"""The ASGI glue around the pages and the API: the gate, sign-in, and what runs beside them."""
