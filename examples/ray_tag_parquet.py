"""
Tag Parquet files with Ray: reads a file or folder, writes a folder with the answers.

    python examples/ray_tag_parquet.py articles.parquet tagged/ --title headline

It starts Ray on this machine. If RAY_ADDRESS names a cluster, it runs on the cluster, and the paths are paths of the cluster.
"""

import argparse
import os
from collections import Counter

import ray
from ray.data import Dataset, TaskPoolStrategy

from tagstream import Tagger


def tagged(articles: Dataset, processes: int, **names: str | None) -> Dataset:
    """Return the articles with the columns of an answer; `names` are the arguments of `Tagger.tag_table`."""
    return articles.map_batches(
        # Each process loads the bundle once.
        Tagger().tag_table,
        fn_kwargs=names,
        batch_format="pyarrow",
        # Ray's default is a whole block. Every process would hold the block as text, as columns and as answers at the same time.
        batch_size=1024,
        compute=TaskPoolStrategy(size=processes),
    )


def main() -> None:
    """Read, tag, write."""
    parser = argparse.ArgumentParser(description="Tag Parquet files with Ray.")
    parser.add_argument("articles", help="a Parquet file, or a folder of them, with a column title")
    parser.add_argument("tagged", help="a folder that does not exist yet")
    parser.add_argument("--processes", type=int, default=2, help="most processes that decide at once, each on one core")
    parser.add_argument("--title", help="the column that has the title, if it is not `title`")
    parser.add_argument("--description", help="the column that has the description")
    parser.add_argument("--id", help="the column that has the id")
    given = parser.parse_args()

    # Ray sends statistics of its use to its makers unless this is set before it starts.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if "RAY_ADDRESS" in os.environ:
        ray.init()
    else:
        # Loopback, so that nobody else can reach the processes of this little cluster.
        ray.init(num_cpus=given.processes, include_dashboard=False, _node_ip_address="127.0.0.1")

    articles = ray.data.read_parquet(given.articles)
    answers = tagged(articles, given.processes, title=given.title, description=given.description, id=given.id)
    answers.write_parquet(given.tagged, mode="error")

    # Counted here rather than by `groupby`, which is made for tables that no machine holds and takes half a minute for this one.
    counts: Counter[str] = Counter()
    for part in ray.data.read_parquet(given.tagged, columns=["destination"]).iter_batches(batch_format="pyarrow"):
        counts.update(part["destination"].to_pylist())
    for destination, count in sorted(counts.items()):
        print(f"{destination:8} {count:>10,}")


if __name__ == "__main__":
    main()
