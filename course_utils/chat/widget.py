"""A chat window for notebooks: type, read the answer as it is written. Without a live kernel it shows what was said.

Displaying never waits for anybody: a notebook that runs headless goes straight on, and its static copy keeps the
conversation so far as HTML and as text.
"""

import html

import ipywidgets as widgets

from course_utils.chat.session import ChatSession

BUBBLE = "margin:4px 0; padding:6px 10px; border-radius:8px; max-width:85%; width:fit-content; white-space:pre-wrap;"
LOOKS = {
    "user": BUBBLE + " background:rgba(0,114,178,0.18); margin-left:auto;",
    "assistant": BUBBLE + " background:rgba(127,127,127,0.16);",
}
NOTE = "To talk to the model yourself, run this cell in JupyterLab or Colab; this is the conversation so far."


class ChatWidget:
    """A window onto a `ChatSession`: whatever is said here is in the session, and the other way round."""

    def __init__(self, session: ChatSession) -> None:
        self.session = session
        self.log = widgets.HTML()
        self.entry = widgets.Text(placeholder="Say something and press Enter", layout=widgets.Layout(flex="1"))
        self.send = widgets.Button(description="Send", button_style="primary")
        self.clear = widgets.Button(description="New conversation")
        self.box = widgets.VBox([self.log, widgets.HBox([self.entry, self.send, self.clear])])
        self.send.on_click(lambda _: self._submit())
        self.entry.on_msg(self._on_message)  # Enter; `observe` would also fire when the field only loses focus
        self.clear.on_click(lambda _: self._restart())
        self._show()

    def transcript(self) -> str:
        """The conversation as text, one line for each message; the system message is not shown."""
        spoken = [message for message in self.session.messages if message["role"] != "system"]
        return "\n".join(f"{message['role']:>9}: {message['content']}" for message in spoken) or "(nothing said yet)"

    def _repr_mimebundle_(self, **_) -> dict[str, object]:
        """What a front end may choose from: the live window, or the conversation so far."""
        live = self.box._repr_mimebundle_() or {}
        return {**live, "text/plain": f"{self.transcript()}\n\n{NOTE}", "text/html": self._html(note=NOTE)}

    def _on_message(self, _widget, content: dict, _buffers) -> None:
        if content.get("event") == "submit":
            self._submit()

    def _submit(self) -> None:
        text = self.entry.value.strip()
        if not text or self.send.disabled:
            return
        self.entry.value, self.send.disabled = "", True
        try:
            self._show(text, "...")
            self.session.say(text, on_text=lambda reply: self._show(text, reply))
            self._show()
        finally:
            self.send.disabled = False

    def _restart(self) -> None:
        self.session.reset()
        self._show()

    def _show(self, *pending: str) -> None:
        self.log.value = self._html(pending)

    def _html(self, pending: tuple[str, ...] = (), note: str = "") -> str:
        """The conversation as HTML; everything people or models wrote is escaped."""
        said = [(message["role"], message["content"]) for message in self.session.messages]
        if pending:  # while an answer is being written the session already holds the question
            said = [*said[: 2 * len(self.session.turns) + bool(self.session.system)], *zip(LOOKS, pending, strict=True)]
        rows = [f'<div style="{LOOKS[role]}">{html.escape(text)}</div>' for role, text in said if role in LOOKS]
        if note:
            rows.append(f"<div><em>{html.escape(note)}</em></div>")
        return "".join(rows) or "<em>Nothing said yet.</em>"
