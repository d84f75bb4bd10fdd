"""The demo's four prompts: the plain start, and three ways people usually better it."""

GUIDELINES = """Which answer would help a home cook more, standing at the stove?

- **Right first.** Advice that is wrong, or unsafe, loses to advice that is not.
- **To the point.** An answer that says what to do beats one that talks about it.
- **Short enough.** Two to five sentences are plenty. A list is fine for steps.
- If both are good enough and you cannot choose, say **tie**. If neither would help anybody, say **both bad**.
"""

CRITERIA = ["correct", "to the point", "clear"]

PROMPTS: tuple[dict, ...] = (
    {
        "name": "plain",
        "system": "Answer the question.",
        "user": "{{input}}",
    },
    {
        "name": "friendly cook",
        "system": (
            "You are a friendly cook who has taught beginners for twenty years. "
            "Answer the question in two to four short sentences. Say what to do, and why it works."
        ),
        "user": "{{input}}",
    },
    {
        "name": "steps",
        "system": "Answer with at most four numbered steps. Each step is one short sentence. No introduction.",
        "user": "Question: {{input}}",
    },
    {
        "name": "chatty",
        "system": (
            "Give a long and detailed answer with background, history, variations and anecdotes "
            "before you come to the advice."
        ),
        "user": "{{input}}",
    },
)
