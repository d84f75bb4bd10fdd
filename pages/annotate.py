"""Compare two responses, blind, and vote with one key.

The page is a frame: the work is done on the desk (`pages/desk`), in the browser, which
holds the pair on the screen and the next one, and talks to the routes under /desk. So a
vote needs no rerun, and is not lost when the network is away for a while.
"""

from pages.desk import show_desk
from pages.shared import header, may, me

project = header("Annotate")
show_desk(project.id, me().user_id, may("data.import"))
