"""Reading a page as a strict browser would, for the tests."""

from html.parser import HTMLParser

VOID = {"meta", "br"}
# What would make a browser fetch or run something.
FETCHING = ("src", "srcset", "action", "background", "poster", "ping", "data", "manifest", "style")


class Page(HTMLParser):
    """A parsed page: every tag closed in order, ids unique, nothing fetched, nothing run; else AssertionError."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        assert source.startswith("<!DOCTYPE html>\n<html lang=")
        self.feed(source)
        self.close()
        assert not self._open
        ids = [value for _, name, value in self.attributes if name == "id"]
        assert len(ids) == len(set(ids))
        assert "script" not in self.tags
        for tag, name, value in self.attributes:
            assert not name.startswith("on"), (tag, name)
            if name in ("href", "xlink:href"):
                assert value.startswith("#")
                assert value[1:] in ids
            if name in FETCHING:
                assert "http" not in value
                assert "//" not in value
                assert "url(" not in value.replace("url(#", "")

    @property
    def text(self) -> str:
        """All that is to be read, outside the style."""
        return " ".join(" ".join(self.texts).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self._open:
            self.texts.append(data)
