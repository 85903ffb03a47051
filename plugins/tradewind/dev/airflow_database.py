"""Airflow's tables and the pool of heavy steps, in one process, since importing Airflow is most of the work.

`python -m tradewind.dev.airflow_database POOL`
"""

from __future__ import annotations

import sys


def make(pool: str) -> None:
    """Bring the database to this Airflow's version; one slot, so that heavy steps take turns."""
    from airflow.models.pool import Pool
    from airflow.utils.db import initdb, upgradedb
    from airflow.utils.session import create_session

    initdb()
    upgradedb()
    with create_session() as session:
        if session.query(Pool).filter(Pool.pool == pool).first() is None:
            Pool.create_or_update_pool(
                pool, slots=1, description="Heavy steps, one at a time", include_deferred=False, session=session
            )


if __name__ == "__main__":
    make(sys.argv[1])
