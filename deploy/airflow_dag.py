"""The daily loop as an Airflow DAG; it imports nothing of this project.

Put the file into the folder of DAGs and set the paths. Days come with
`ecdctr-convert --append`, as in docs/daily_loop.md. `auto` ends with status 75
while they are not whole: the task is tried again each half hour, and fails for
good after seven hours. Giving it again after other errors does no harm.
"""

import datetime

from airflow import DAG
from airflow.operators.bash import BashOperator

with DAG(
    dag_id="ctr_auto",
    schedule="0 2 * * *",
    start_date=datetime.datetime(2024, 1, 1),
    # A run catches up by itself.
    catchup=False,
    max_active_runs=1,
    default_args={
        "retries": 14,
        "retry_delay": datetime.timedelta(minutes=30),
    },
) as dag:
    BashOperator(
        task_id="auto",
        # A run begins when its interval is over: that is the date of which
        # nothing is read.
        bash_command=(
            "ecdctr-train --stage=auto --date={{ data_interval_end | ds }} "
            "--data_dir=/srv/ctr/data --workdir=/srv/ctr/run "
            "--keep_versions=3"
        ),
    )
