"""
Tag Parquet files with Spark: reads a file or folder, writes a folder with the answers.

    python examples/spark_tag_parquet.py articles.parquet tagged/ --title headline
    spark-submit --master spark://HOST:7077 examples/spark_tag_parquet.py hdfs:///articles hdfs:///tagged

Without `spark-submit` it runs on this machine.
"""

import argparse
import os
import sys

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.pandas.types import from_arrow_schema
from pyspark.sql.types import StructField, StructType

from tagstream import Tagger

# Spark's default is 10,000 rows. Every task would hold the rows as text, as columns and as answers at the same time.
ROWS_PER_CALL = 1024


def tagged(articles: DataFrame, **names: str | None) -> DataFrame:
    """Return the articles with the columns of an answer; `names` are the arguments of `Tagger.tag_table`."""
    tagger = Tagger()
    # Spark needs the columns in advance: an empty table with answers has them. The columns of the articles keep their types.
    columns = tagger.tag_table(articles.limit(0).toArrow(), **names).schema
    kept = [
        StructField(name, of.dataType, of.nullable, of.metadata)
        for name, of in zip(columns.names, articles.schema, strict=False)
    ]
    schema = StructType([*kept, *from_arrow_schema(columns).fields[len(kept) :]])
    # Each Python process loads the bundle once, at its first task.
    return articles.mapInArrow(lambda batches: (tagger.tag_table(batch, **names) for batch in batches), schema)


def main() -> None:
    """Read, tag, write."""
    parser = argparse.ArgumentParser(description="Tag Parquet files with Spark.")
    parser.add_argument("articles", help="a Parquet file, or a folder of them, with a column title")
    parser.add_argument("tagged", help="a folder that does not exist yet")
    parser.add_argument("--title", help="the column that has the title, if it is not `title`")
    parser.add_argument("--description", help="the column that has the description")
    parser.add_argument("--id", help="the column that has the id")
    given = parser.parse_args()

    # Spark would start whichever `python3` comes first, and that one may have no tagstream.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    spark = SparkSession.builder.appName("tagstream").getOrCreate()
    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", ROWS_PER_CALL)

    articles = spark.read.parquet(given.articles)
    # A folder that exists is refused: two runs would be mixed in it.
    tagged(articles, title=given.title, description=given.description, id=given.id).write.parquet(given.tagged)

    answers = spark.read.parquet(given.tagged)
    for counted in sorted(answers.groupBy("destination").count().collect()):
        print(f"{counted['destination']:8} {counted['count']:>10,}")
    spark.stop()


if __name__ == "__main__":
    main()
