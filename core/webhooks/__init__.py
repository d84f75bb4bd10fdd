"""Webhooks: telling other programs what happens in a project, signed and retried.

`emit` and `after_votes` write what is to be told in the unit of work that it tells of
(events.py); the sender (sender.py) beside the pages sends it, to addresses that are no
secret door into the own network (addresses.py), signed as the Standard Webhooks
specification says (signing.py). Leads and admins make and watch them (manage.py).
"""

from core.webhooks.events import EVENTS, after_votes, emit

__all__ = ["EVENTS", "after_votes", "emit"]
