"""
A file, or a folder of files, as the output of a batch. The output appears only when it is complete.

It grows in a work folder beside the output, with parts and a state file that says which parts are complete. A part is written first;
then the state file is replaced in one step. So the state is correct after a kill at any moment. The state has a digest of the input rows
so far: a run that continues reads these rows again, and compares the digest.
"""

import fcntl
import hashlib
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from tagstream.model_export.data.reader import InputRow
from tagstream.stream.batch import side_file
from tagstream.stream.batch.formats import Format, append
from tagstream.stream.batch.run import BatchError, ChangedError, Chunk, DecidedRow, Outcomes, Rejected, Tally
from tagstream.stream.batch.side_file import persist, rejected_line, writing

VERSION = 1
# A kill loses the decisions of one part at most. A part is one file of a folder, or one row group of a Parquet file.
ROWS_A_PART = 10_000
BYTES_A_PART = 16 * 1024 * 1024
AGAIN = "Next: give the input as it was, or --fresh to begin anew."


class OutputState(msgspec.Struct, kw_only=True):
    """
    The state of an output: which rows of the input it has.

    Attributes:
        identity: Everything that the decisions depend on, except the rows, by name.
        parts: The number of complete parts.
        digest: The BLAKE2b digest, in hex, of the rows in these parts.
        tally: The counts of these rows.
        version: The version of this format.
    """

    identity: dict[str, str]
    parts: int = 0
    digest: str = ""
    tally: Tally = msgspec.field(default_factory=Tally)
    version: int = VERSION


class Paths:
    """
    The paths of an output and of the files beside it.

    Attributes:
        out: The output.
        rejected: The side file.
        summary: The state file of the complete output.
        work: The work folder of the unfinished batch.
    """

    def __init__(self, out: Path, rejected: Path | None = None) -> None:
        self.out = out
        self.rejected = rejected or out.with_name(f"{out.name}.rejected.jsonl")
        self.summary = out.with_name(f"{out.name}.batch.json")
        self.work = out.with_name(f"{out.name}.parts")

    @property
    def state(self) -> Path:
        """The state file of the unfinished batch."""
        return self.work / "state.json"

    def part(self, number: int, suffix: str) -> Path:
        """Return the file of a part. `number` counts from 0."""
        return self.work / "answers" / f"part-{number:06d}{suffix}"

    def rejects(self, number: int) -> Path:
        """Return the path of a part's rejected rows. The file does not exist if the part has none."""
        return self.work / "rejected" / f"part-{number:06d}.jsonl"


class FileOut:
    """
    A `Sink` that writes parts in a work folder beside the output.

    Attributes:
        tally: The counts of all rows up to the last chunk.
        complete: True if the output was complete before this run. Then a new row in the input is an error.
    """

    def __init__(
        self,
        paths: Paths,
        form: Format,
        identity: dict[str, str],
        *,
        folder: bool,
        fresh: bool = False,
        rows_a_part: int = ROWS_A_PART,
    ) -> None:
        """
        Find out where an earlier run stopped.

        Args:
            paths: The paths of the output and of the files beside it.
            form: The output format.
            identity: Everything that the decisions depend on, except the rows, by name, in words.
            folder: True if the output is a folder with a file for each part.
            fresh: Begin anew: an unfinished run is deleted, and the output is replaced once the new output is complete.
            rows_a_part: The number of rows after which a part ends.

        Raises:
            ChangedError: The output exists, and another command or another program made it.
            BatchError: The work folder cannot be made, or another process writes there.
        """
        out = paths.out
        self._paths, self._form, self._folder, self._rows_a_part = paths, form, folder, rows_a_part
        if fresh:
            self._look_at_what_goes()
        self.complete = not fresh and not self._paths.work.exists() and out.exists()
        self._held = -1 if self.complete else self._hold(fresh=fresh)
        try:
            self._state = self._begun(identity)
        except ChangedError:
            self.let_go()
            raise
        self.tally = replace(self._state.tally)
        self._hash = hashlib.blake2b(digest_size=32)
        self._seen = 0
        self._pieces: list[Any] = []
        self._rejects: list[bytes] = []
        self._rows = self._bytes = 0

    def missing(self, chunk: Chunk) -> Chunk | None:
        """See `Sink`."""
        held = self._state.tally.rows
        known, new = chunk.rows[: held - self._seen] if self._seen < held else [], chunk
        if known:
            self._look_at(known)
            if self._seen == held:
                self._compare_rows()
            if len(known) == len(chunk.rows):
                return None
            new = chunk.after(len(known))
        if self.complete:
            msg = f"{self._paths.out} is whole with {held} rows, and the input has more. {AGAIN}"
            raise ChangedError(msg)
        self._look_at(new.rows)
        return new

    def put(self, chunk: Chunk, outcomes: Outcomes) -> None:
        """See `Sink`."""
        self._pieces.append(self._form.piece(chunk, [found for found in outcomes if isinstance(found, DecidedRow)]))
        self._rejects += [rejected_line(chunk.source, found) for found in outcomes if isinstance(found, Rejected)]
        self.tally.count(outcomes)
        self._rows += len(chunk.rows)
        self._bytes += sum(len(row.value) for row in chunk.rows)
        if self._rows >= self._rows_a_part or self._bytes >= BYTES_A_PART:
            self._commit()

    def finish(self) -> None:
        """See `Sink`."""
        held = self._state.tally.rows
        if self._seen < held:
            msg = f"the output holds {held} rows, and the input has {self._seen}. {AGAIN}"
            raise ChangedError(msg)
        if self.complete:
            with writing(self._paths.work):
                discard(self._paths.work)
            return
        if self._rows:
            self._commit()
        with writing(self._paths.out):
            whole = self._whole()
            self._side_file()
            write_state(self._paths.summary, self._state)
            if self._folder and self._paths.out.exists():
                self._paths.out.rename(self._paths.work / "replaced")
            whole.replace(self._paths.out)
            persist(self._paths.out.absolute().parent)
            discard(self._paths.work)
        self.let_go()

    def let_go(self) -> None:
        """Release the lock on this output. The end of the process releases it too."""
        if self._held >= 0:
            os.close(self._held)
            self._held = -1

    def _hold(self, *, fresh: bool) -> int:
        held = open_work(self._paths)
        if fresh:
            with writing(self._paths.work):
                discard(self._paths.work)
            os.close(held)
            held = open_work(self._paths)
        return held

    def _look_at_what_goes(self) -> None:
        """Refuse to replace a folder that no batch made: all its files would be deleted."""
        out = self._paths.out
        if out.is_dir() and not self._paths.summary.exists() and any(out.iterdir()):
            msg = f"{out} is a folder with files in it, and no batch made it. Next: give another name, or move it away."
            raise ChangedError(msg)

    def _begun(self, identity: dict[str, str]) -> OutputState:
        """Return the state of an earlier run of this command, or a new state if there is none."""
        state = read_state(self._paths.summary if self.complete else self._paths.state)
        if state is None and self.complete:
            msg = (
                f"{self._paths.out} is there already, and no batch made it. Next: give another name, or --fresh to replace it."
            )
            raise ChangedError(msg)
        if state is None:
            return OutputState(identity=identity)
        self._compare(state, identity)
        return state

    def _compare(self, state: OutputState, identity: dict[str, str]) -> None:
        before = state.identity
        for name in {**before, **identity}:
            if before.get(name) != identity.get(name):
                msg = (
                    f"{self._paths.out} was begun with another {name} ({before.get(name)}, now {identity.get(name)}), and one output has "
                    f"one {name}. Next: run with the same {name}, or give --fresh to begin anew."
                )
                raise ChangedError(msg)
        for number in range(0 if self.complete else state.parts):
            if not self._part(number).exists():
                msg = f"{self._part(number)} is gone, and {self._paths.state} counts on it. Next: put it back, or give --fresh to begin anew."
                raise ChangedError(msg)

    def _look_at(self, rows: list[InputRow]) -> None:
        for row in rows:
            self._hash.update(b"%d " % len(row.value))
            self._hash.update(row.value)
        self._seen += len(rows)

    def _compare_rows(self) -> None:
        if self._hash.hexdigest() != self._state.digest:
            msg = f"the first {self._seen} rows of the input are not those that {self._paths.out} was begun with. {AGAIN}"
            raise ChangedError(msg)

    def _part(self, number: int) -> Path:
        return self._paths.part(number, self._form.suffix)

    def _commit(self) -> None:
        number = self._state.parts
        part, rejects = self._part(number), self._paths.rejects(number)
        with writing(part):
            self._form.write(part, self._pieces)
            persist(part)
            # A run that was killed after it wrote its part may have left this file.
            rejects.unlink(missing_ok=True)
            if self._rejects:
                rejects.write_bytes(b"".join(self._rejects))
                persist(rejects)
            state = OutputState(
                identity=self._state.identity, parts=number + 1, digest=self._hash.hexdigest(), tally=replace(self.tally)
            )
            write_state(self._paths.state, state)
        self._state, self._pieces, self._rejects, self._rows, self._bytes = state, [], [], 0, 0

    def _whole(self) -> Path:
        parts = [self._part(number) for number in range(self._state.parts)]
        whole = self._paths.work / "whole"
        if not self._folder:
            self._form.join(parts, whole)
            persist(whole)
            return whole
        # A run that was killed here may have left a partial folder.
        shutil.rmtree(whole, ignore_errors=True)
        whole.mkdir()
        for part in parts:
            try:
                os.link(part, whole / part.name)
            except OSError:
                # Some file systems have no hard links. If the disk is full, the copy fails too.
                shutil.copyfile(part, whole / part.name)
        return whole

    def _side_file(self) -> None:
        found = [rejects for number in range(self._state.parts) if (rejects := self._paths.rejects(number)).exists()]
        if not found:
            side_file.remove(self._paths.rejected)
            return
        # It grows in the side file's own folder: a side file named by the user may be on another disk than the work folder.
        with side_file.grow(self._paths.rejected) as whole:
            append(found, whole)
            side_file.put(self._paths.rejected, whole)


def open_work(paths: Paths) -> int:
    """
    Make the work folder, and lock it until this process ends.

    Returns:
        The file descriptor of the lock.

    Raises:
        BatchError: Another process holds the lock, or the folder cannot be made.
    """
    with writing(paths.work):
        for folder in ("answers", "rejected"):
            (paths.work / folder).mkdir(parents=True, exist_ok=True)
        held = os.open(paths.work / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(held)
        msg = f"another batch is writing {paths.out}. Next: wait until it has ended, or stop it; the same command then goes on."
        raise BatchError(msg) from error
    return held


def read_state(path: Path) -> OutputState | None:
    """
    Return the state in a file; None if there is no file.

    Raises:
        ChangedError: The file cannot be read, is not a state, or is of another version.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror}. Next: give the right to read it."
        raise ChangedError(msg) from error
    try:
        state = msgspec.json.decode(content, type=OutputState)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        msg = f"{path} is no state of a batch ({error}). Next: move it away, or give --fresh to begin anew."
        raise ChangedError(msg) from error
    if state.version != VERSION:
        msg = (
            f"{path} was written by another version of tagstream. Next: go on with that version, or give --fresh to begin anew."
        )
        raise ChangedError(msg)
    return state


def write_state(path: Path, state: OutputState) -> None:
    """Replace a state file in one step. The new state survives a power failure."""
    unfinished = path.with_name(f"{path.name}.new")
    unfinished.write_bytes(msgspec.json.format(msgspec.json.encode(state), indent=1) + b"\n")
    persist(unfinished)
    unfinished.replace(path)
    persist(path.parent)


def discard(folder: Path) -> None:
    """Delete a work folder. It is renamed first: a kill during the deletion must not leave a state without its parts."""
    old = folder.with_name(f"{folder.name}.old")
    if old.exists():
        shutil.rmtree(old)
    if folder.exists():
        folder.rename(old)
        shutil.rmtree(old)
