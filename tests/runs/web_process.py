"""What a web process does for runs, alone: supervise until it is killed."""

import time

from core.runs import kinds
from core.runs.supervisor import Supervisor
from core.settings import get_settings
from storage.database import Database
from tests.runs.conftest import SUM

if __name__ == "__main__":
    kinds.KINDS["sum"] = SUM
    Supervisor(Database(get_settings().sqlalchemy_url), get_settings(), interval=0.02).start()
    time.sleep(600)
