"""
Tag Parquet files with Ray: reads a file or folder, writes a folder with the answers.

    python examples/ray_tag_parquet.py articles.parquet tagged/ --title headline

It starts Ray on this machine. Where RAY_ADDRESS names a cluster, it runs there instead, and the paths are the cluster's.
"""

import argparse
import os
from collections import Counter

# Before Ray: this module switches Ray's usage statistics off.
from tagstream.stream.batch.ray import Columns, tag

# ruff: isort: split
import ray


def main() -> None:
    """Read, tag, write."""
    parser = argparse.ArgumentParser(description="Tag Parquet files with Ray.")
    parser.add_argument("articles", help="a Parquet file, or a folder of them, with a column title")
    parser.add_argument("tagged", help="a folder that does not exist yet")
    parser.add_argument("--actors", type=int, default=2, help="most processes that decide at once, each on one core")
    parser.add_argument("--title", help="the column that has the title, if it is not `title`")
    parser.add_argument("--description", help="the column that has the description")
    parser.add_argument("--id", help="the column that has the id")
    given = parser.parse_args()

    if "RAY_ADDRESS" in os.environ:
        ray.init()
    else:
        # One core more than the actors have: those that Ray counts on for reading and writing. Loopback, so that nobody else can reach
        # the processes of this little cluster.
        ray.init(num_cpus=given.actors + 1, include_dashboard=False, _node_ip_address="127.0.0.1")
    columns = Columns(title=given.title, description=given.description, id=given.id)
    articles = ray.data.read_parquet(given.articles)
    tag(articles, actors=given.actors, columns=columns).write_parquet(given.tagged, mode="error")

    # Counted here rather than by `groupby`, which is made for tables that no machine holds and takes half a minute for this one.
    counts: Counter[str] = Counter()
    for part in ray.data.read_parquet(given.tagged, columns=["destination"]).iter_batches(batch_format="pyarrow"):
        counts.update(part["destination"].to_pylist())
    for destination, count in sorted(counts.items()):
        print(f"{destination:8} {count:>10,}")


if __name__ == "__main__":
    main()
