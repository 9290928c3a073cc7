"""A program of Spark's: scores a Parquet file with a model and writes what came of it.

python scored.py classic|connect IN OUT MODEL MODELS
"""

import os
import sys
import warnings

warnings.simplefilter("ignore")  # Spark's own, about the release of pandas
os.environ["PYSPARK_PYTHON"] = sys.executable

import pyarrow.parquet as parquet  # noqa: E402
from pyspark.sql import SparkSession  # noqa: E402

from skylane.spark import score  # noqa: E402

mode, source, target, model, models = sys.argv[1:]
builder = SparkSession.builder
builder = builder.remote("local[2]") if mode == "connect" else builder.master("local[2]")
spark = (
    builder.config("spark.ui.enabled", "false")
    .config("spark.driver.host", "127.0.0.1")
    .config("spark.driver.bindAddress", "127.0.0.1")
    .getOrCreate()
)
frame = spark.read.parquet(source).repartition(3)
parquet.write_table(score(frame, model, models).toArrow(), target)
spark.stop()
