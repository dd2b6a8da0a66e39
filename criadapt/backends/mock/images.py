"""Local images: which are present, under which names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from criadapt.backends.base import EngineImage, ImageConfig
from criadapt.backends.mock.catalogue import Content, content, family_of, files_of
from criadapt.errors import FailedPrecondition, ImageNotFound, PullFailed
from criadapt.journal import Journal
from criadapt.model.reference import ImageRef

_IMAGE, _DIGEST = "image", "digest"


class Local(msgspec.Struct, frozen=True, omit_defaults=True):
    """One image as it is remembered."""

    path: str
    digest: str
    size: int
    pulled_at: int
    config: ImageConfig
    repo_tags: tuple[str, ...] = ()
    repo_digests: tuple[str, ...] = ()


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Local)
_TAGS = msgspec.json.Decoder(tuple[str, str])


class Images:
    """The image store, kept in the journal."""

    def __init__(self, journal: Journal, *, size: int, capacity: int, changed: Callable[[], None]) -> None:
        self._journal = journal
        self._size = size
        self._capacity = capacity
        self._changed = changed
        local = [(id, _DECODER.decode(body)) for id, body in journal.load(_IMAGE)]
        self._local = dict(sorted(local, key=lambda item: item[1].pulled_at))
        # Digest of every tag that was ever pulled, so that a later pull by digest finds the same content.
        self._tags = {digest: _TAGS.decode(body) for digest, body in journal.load(_DIGEST)}
        self._rows: dict[str, EngineImage] = {}

    def __contains__(self, id: str) -> bool:
        return id in self._local

    def add(self, ref: ImageRef, now: int) -> str:
        """Make the image present under the name `ref`. Raises PullFailed when the disk is full."""
        found = self._content(ref)
        size = self._size or found.size
        old = self._local.get(found.id)
        if old is None and self.used_bytes + size > self._capacity:
            raise PullFailed(
                f"no space left on device: {ref} needs {size} bytes, {self._capacity - self.used_bytes} are free; "
                "remove unused images"
            )
        base = old or Local(ref.path, found.digest, size, now, found.config)
        new = msgspec.structs.replace(
            base,
            repo_tags=base.repo_tags if ref.digest else _with(base.repo_tags, str(ref)),
            repo_digests=_with(base.repo_digests, f"{ref.name}@{found.digest}"),
        )
        if new == old:
            return found.id
        with self._journal.together():
            self._journal.put(_IMAGE, found.id, _ENCODER.encode(new))
            if ref.tag and found.digest not in self._tags:
                self._journal.put(_DIGEST, found.digest, _ENCODER.encode((ref.path, ref.tag)))
        if ref.tag:
            self._tags[found.digest] = (ref.path, ref.tag)
        self._local[found.id] = new
        self._rows.pop(found.id, None)
        self._changed()
        return found.id

    def remove(self, id: str, user: str | None) -> None:
        """Forget the image and all its names. `user` names a container that uses it, which forbids that."""
        if id not in self._local:
            return
        if user is not None:
            raise FailedPrecondition(f"image {id!r} is in use by container {user!r}; remove the container first")
        self._journal.delete(_IMAGE, id)
        del self._local[id]
        self._rows.pop(id, None)
        self._changed()

    def rows(self) -> Sequence[EngineImage]:
        """All images."""
        return [self._row(id) for id in self._local]

    def get(self, id: str) -> Local:
        """One image. Raises ImageNotFound."""
        try:
            return self._local[id]
        except KeyError:
            raise ImageNotFound(id) from None

    def files(self, id: str) -> Mapping[str, bytes]:
        """What the image holds, shared by all who ask. Raises ImageNotFound."""
        return files_of(family_of(self.get(id).path))

    @property
    def used_bytes(self) -> int:
        """Bytes of disk that the images take."""
        return sum(image.size for image in self._local.values())

    @property
    def inodes_used(self) -> int:
        """A plausible number of files: a directory and a handful per megabyte."""
        return sum(12 + image.size // 65536 for image in self._local.values())

    def _content(self, ref: ImageRef) -> Content:
        if not ref.digest:
            return content(ref.path, tag=ref.tag)
        tagged = self._tags.get(ref.digest)
        if tagged is not None:
            return content(tagged[0], tag=tagged[1])
        latest = content(ref.path, tag="latest")
        return latest if latest.digest == ref.digest else content(ref.path, digest=ref.digest)

    def _row(self, id: str) -> EngineImage:
        row = self._rows.get(id)
        if row is None:
            image = self._local[id]
            row = self._rows[id] = EngineImage(
                id=id,
                size=image.size,
                repo_tags=image.repo_tags,
                repo_digests=image.repo_digests,
                config=image.config,
                created_at=image.pulled_at,
            )
        return row


def _with(names: tuple[str, ...], name: str) -> tuple[str, ...]:
    return names if name in names else tuple(sorted((*names, name)))
