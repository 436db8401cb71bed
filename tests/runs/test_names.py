import threading
from datetime import datetime, timedelta
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from understudy.runs.find import SLOT, claim_folder, run_id

MOMENTS = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1))


@given(moment=MOMENTS, later=st.timedeltas(SLOT * 1.01, timedelta(days=900)))
def test_ids_sort_by_time(moment: datetime, later: timedelta) -> None:
    assert run_id(moment) < run_id(moment + later)


def test_no_two_runs_share_a_folder(here: Path) -> None:
    folders: list[Path] = []
    threads = [threading.Thread(target=lambda: folders.extend(claim_folder(here) for _ in range(20))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(folders)) == 160
    assert all(folder.is_dir() for folder in folders)
