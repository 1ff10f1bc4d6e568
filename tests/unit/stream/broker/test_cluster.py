"""The settings, the ports and the folder of the nodes of Apache Kafka."""

import socket
from pathlib import Path

import pytest

from tagstream.stream.broker.ports import LOOPBACK, free_ports, is_free
from tagstream.stream.broker.provider import ProviderUnavailable
from tests.kafka_cluster import Layout, Node, node_properties


class TestProperties:
    """The `server.properties` of a node."""

    def nodes(self, count: int, folder: Path = Path("/data")) -> tuple[Node, ...]:
        """Nodes on made-up ports."""
        return tuple(
            Node(number=number, port=100 + number, controller_port=200 + number, folder=folder)
            for number in range(1, count + 1)
        )

    def rendered(self, count: int, number: int = 1, folder: Path = Path("/data")) -> dict[str, str]:
        """The properties of one node, read back."""
        nodes = self.nodes(count, folder)
        lines = node_properties(nodes[number - 1], nodes).splitlines()
        return dict(line.split("=", 1) for line in lines)

    def test_one_node_replicates_nothing(self) -> None:
        """A lone node can be its own quorum and hold every internal topic."""
        values = self.rendered(1)
        replication = {value for key, value in values.items() if key.endswith(("replication.factor", "min.isr"))}
        assert replication == {"1"}
        assert values["min.insync.replicas"] == "1"

    def test_three_nodes_survive_one(self) -> None:
        """Three replicas, two in sync, for the internal topics too."""
        values = self.rendered(3, number=2)
        assert {value for key, value in values.items() if key.endswith("replication.factor")} == {"3"}
        assert {value for key, value in values.items() if key.endswith(("min.isr", "insync.replicas"))} == {"2"}
        assert values["node.id"] == "2"
        assert values["controller.quorum.voters"] == "1@127.0.0.1:201,2@127.0.0.1:202,3@127.0.0.1:203"

    def test_listens_on_loopback_only(self) -> None:
        """No listener is open to the network."""
        values = self.rendered(1)
        assert values["listeners"] == "PLAINTEXT://127.0.0.1:101,CONTROLLER://127.0.0.1:201"
        assert values["advertised.listeners"] == "PLAINTEXT://127.0.0.1:101"

    def test_topics_are_not_made_by_accident(self) -> None:
        """A misspelt topic is an error, and a group starts at once."""
        values = self.rendered(1)
        assert values["auto.create.topics.enable"] == "false"
        assert values["group.initial.rebalance.delay.ms"] == "0"

    def test_folder_with_odd_characters_is_escaped(self) -> None:
        """Java reads Latin-1, and takes a backslash for an escape."""
        values = self.rendered(1, folder=Path("/da\\ta/é/😀"))
        assert values["log.dirs"] == r"/da\\ta/\u00e9/\ud83d\ude00/logs"


class TestPortsAndLayout:
    """Ports that are free, and a folder that remembers them."""

    def test_free_ports_are_distinct_and_below_the_clients(self) -> None:
        """No client's own port can be among them."""
        ports = free_ports(6)
        assert len(set(ports)) == 6
        assert all(20_000 <= port < 32_768 for port in ports)

    def test_port_with_a_listener_is_not_free(self) -> None:
        """A port with a listener is taken."""
        with socket.create_server((LOOPBACK, 0)) as server:
            assert not is_free(server.getsockname()[1])

    def test_folder_remembers_its_cluster(self, tmp_path: Path) -> None:
        """The next cluster in the folder has the same id and ports."""
        layout = Layout.of(tmp_path, 3)
        layout.save()
        assert Layout.of(tmp_path, 3) == layout

    def test_taken_ports_are_replaced(self, tmp_path: Path) -> None:
        """The same cluster comes up on other ports when one of its own is taken."""
        layout = Layout.of(tmp_path, 1)
        layout.save()
        with socket.create_server((LOOPBACK, layout.nodes[0].port)):
            again = Layout.of(tmp_path, 1)
        assert again.identity == layout.identity
        assert again.nodes[0].port != layout.nodes[0].port

    def test_folder_of_another_size_is_refused(self, tmp_path: Path) -> None:
        """Records of three nodes cannot be served by one."""
        Layout.of(tmp_path, 3).save()
        with pytest.raises(ProviderUnavailable, match="holds a cluster of 3 nodes, 1 were asked for"):
            Layout.of(tmp_path, 1)
