"""A large project, made in DuckDB by SQL: for benchmarks, and for tests of what must hold at
any size.

20 prompts in a line of descent (the last is the champion), each met each on the same
examples; votes of 100 annotators over 180 days, by the prompts' own strengths, some with
a time taken; runs with candidates, a ledger, and reward models; uses in production. All
of it follows from row numbers, so it is the same every time.
"""

from dataclasses import dataclass

from sqlalchemy import text

from storage.database import Database

PROMPTS, ANNOTATORS, DAYS = 20, 100, 180
MEETINGS = PROMPTS * (PROMPTS - 1) // 2
PROJECT = "00000000-0000-7000-8000-000000000001"


@dataclass(frozen=True)
class Size:
    votes: int = 1_000_000
    runs: int = 10_000
    uses: int = 200_000

    @property
    def examples(self) -> int:
        """So many that a pair has three votes and a bit."""
        return max(4, round(self.votes / 3.33 / MEETINGS))


def fill(db: Database, size: Size) -> str:
    """Fill an empty, migrated DuckDB; answers the project's id."""
    values = {
        "examples": size.examples, "pairs": size.examples * MEETINGS, "votes": size.votes, "runs": size.runs,
        "uses": size.uses, "prompts": PROMPTS, "annotators": ANNOTATORS, "days": DAYS,
    }  # fmt: skip
    with db.engine.begin() as connection:
        for macro in MACROS:
            connection.execute(text(macro))
        for statement in TABLES:
            for key, value in values.items():
                statement = statement.replace(f"<{key}>", str(value))
            connection.execute(text(statement.replace("<project>", f"'{PROJECT}'")))
    db.checkpoint()
    return PROJECT


# uid: an id from a name and a number. chance: a number in [0, 1) that follows from them.
# moment: `share` of the days gone, until now.
MACROS = (
    "CREATE TEMP MACRO uid(name, i) AS CAST(CAST(md5(name || CAST(i AS VARCHAR)) AS UUID) AS VARCHAR)",
    "CREATE TEMP MACRO chance(name, i) AS (hash(name || CAST(i AS VARCHAR)) % 1000003) / 1000003.0",
    "CREATE TEMP MACRO moment(share, days) AS now() - to_seconds((1.0 - share) * days * 86400)",
)

TABLES = (
    """INSERT INTO project (id, name, guidelines, criteria, votes_per_pair, demo, champion_prompt_id,
                            reward_model_id, created_at)
       VALUES (<project>, 'A large project', 'Prefer what helps.', '["helpful", "accurate"]', 3, false,
               uid('prompt', <prompts> - 1), NULL, moment(0, <days>))""",
    """INSERT INTO prompt (id, project_id, name, version, system, user, parent_id, operation, run_id,
                           created_at)
       SELECT uid('prompt', i), <project>, 'support', i + 1, 'Answer kindly. Revision ' || i, '{{input}}',
              CASE WHEN i > 0 THEN uid('prompt', i - 1) END,
              CASE WHEN i = 0 THEN 'written' WHEN i < 8 THEN 'edited' ELSE 'grips:swap' END,
              CASE WHEN i >= 8 THEN uid('run', 10 * i + 1) END, moment(i / <prompts>, <days>)
       FROM range(<prompts>) t(i)""",
    """INSERT INTO example (id, project_id, content_hash, input, fields, split, created_at)
       SELECT uid('example', i), <project>, md5('e' || i), 'Question ' || i, '{"input": "Question"}',
              CASE WHEN i % 10 < 7 THEN 'train' WHEN i % 10 = 7 THEN 'dev' ELSE 'test' END, moment(0, <days>)
       FROM range(<examples>) t(i)""",
    """INSERT INTO response (id, project_id, example_id, prompt_id, text, cache_key, params, tokens_in,
                             tokens_out, latency_ms, cost, created_at)
       SELECT uid('response', i), <project>, uid('example', i // <prompts>), uid('prompt', i % <prompts>),
              repeat('An answer of some length. ', 8), 'c' || i, '{}', 40, 50, 900 + 400 * chance('l', i),
              0.0002, moment((i % <prompts>) / <prompts>, <days>)
       FROM range(<examples> * <prompts>) t(i)""",
    # Pair i: example i // meetings, and the two prompts of meeting i % meetings.
    """CREATE TEMP TABLE met AS
       SELECT row_number() OVER () - 1 AS m, a, b
       FROM range(<prompts>) x(a), range(<prompts>) y(b) WHERE a < b""",
    """CREATE TEMP TABLE made AS
       SELECT e * (SELECT count(*) FROM met) + m AS i, e, a, b, uid('pair', e * 1000 + m) AS id,
              uid('response', e * <prompts> + a) AS response_a, uid('response', e * <prompts> + b) AS response_b
       FROM range(<examples>) t(e), met""",
    """INSERT INTO pair (id, project_id, example_id, response_a, response_b, priority, source, created_at)
       SELECT id, <project>, uid('example', e), response_a, response_b, 0, 'generate', moment(b / 20.0, <days>)
       FROM made""",
    """INSERT INTO slot (id, project_id, pair_id, position, status)
       SELECT uid('slot', i), <project>, id, chance('s', i), CASE WHEN i % 6 = 0 THEN 'open' ELSE 'voted' END
       FROM made WHERE i % 2 = 0""",
    """INSERT INTO annotator (id, project_id, name, simulated, created_at)
       SELECT uid('annotator', i), <project>, 'Annotator ' || i, false, moment(0, <days>)
       FROM range(<annotators>) t(i)""",
    # The later of two prompts is the stronger, by 0.06 a step; a tenth of votes is even.
    """INSERT INTO vote (id, project_id, pair_id, annotator_id, outcome, winner, "left", strength, criteria,
                         reason, duration_ms, source, simulated, created_at)
       SELECT uid('vote', v), <project>, made.id, uid('annotator', (i * 7 + v // <pairs> * 13) % <annotators>),
              CASE WHEN c < 0.07 THEN 'tie' WHEN c < 0.1 THEN 'both_bad' ELSE 'win' END,
              CASE WHEN c < 0.1 THEN NULL
                   WHEN chance('w', v) < 1 / (1 + exp(-0.06 * (b - a))) THEN response_b ELSE response_a END,
              CASE WHEN chance('l', v) < 0.5 THEN response_a ELSE response_b END, NULL, '{}', '',
              CASE WHEN v % 5 > 0 THEN CAST(9000 * exp(0.6 * sqrt(-2 * ln(chance('x', v) + 1e-9))
                                                           * cos(6.2832 * chance('y', v))) AS INTEGER) END,
              'page', false, moment(sqrt(chance('t', v)), <days>)
       FROM (SELECT v, chance('c', v) AS c FROM range(<votes>) t(v)) JOIN made ON made.i = v % <pairs>""",
    """INSERT INTO run (id, project_id, kind, name, config, seed, status, progress, message, result, error,
                        attempt, cancel_requested, last_event, event_offset, created_at, started_at, finished_at)
       SELECT uid('run', i), <project>, kind, kind || ' ' || i,
              CASE kind WHEN 'optimize' THEN '{"method": "grips", "reward": "reward_model", "host": "local"}'
                        WHEN 'reward_model' THEN '{"preset": "quick", "simulated": "exclude"}' ELSE '{}' END,
              i, status, 1, '',
              CASE WHEN status = 'succeeded' THEN '{"seconds": 300, "calls": 600}' END,
              CASE WHEN status = 'failed' THEN 'The host did not answer.' END, 1, false, 20, 0, begun,
              begun + to_seconds(20), CASE WHEN status <> 'running' THEN begun + to_seconds(20 + 900 * chance('d', i)) END
       FROM (SELECT i, moment(i / <runs>, <days>) AS begun,
                    CASE WHEN i % 10 < 5 THEN 'optimize' WHEN i % 10 < 8 THEN 'reward_model' ELSE 'generate' END
                        AS kind,
                    CASE WHEN i % 23 = 7 THEN 'failed' WHEN i % 29 = 3 THEN 'cancelled'
                         WHEN i = <runs> - 1 THEN 'running' ELSE 'succeeded' END AS status
             FROM range(<runs>) t(i))""",
    """INSERT INTO run_event (run_id, number, "at", type, data)
       SELECT uid('run', i // 10), i % 10, moment((i // 10) / <runs>, <days>), 'progress', '{"progress": 0.5}'
       FROM range(<runs> * 10) t(i)""",
    """INSERT INTO candidate (id, project_id, run_id, number, parent, operation, text, accepted, scores, calls,
                              prompt_id, created_at)
       SELECT uid('candidate', i * 100 + c), <project>, uid('run', i), c, CASE WHEN c > 0 THEN c - 1 END,
              CASE WHEN c = 0 THEN 'start' ELSE 'swap' END, 'Answer kindly.', c = 5,
              '{"train": {"score": ' || s || ', "low": ' || s - 0.05 || ', "high": ' || s + 0.05 || ', "n": 100}'
              || CASE WHEN c IN (0, 5) THEN ', "dev": {"score": ' || s || ', "low": ' || s - 0.08 || ', "high": '
              || s + 0.08 || ', "n": 60}' ELSE '' END || '}',
              c * 100, CASE WHEN c = 5 AND i % 10 = 1 AND i // 10 BETWEEN 8 AND 19 THEN uid('prompt', i // 10) END,
              moment(i / <runs>, <days>)
       FROM (SELECT i, c, round(0.4 + 0.2 * i / <runs> + 0.01 * c + 0.05 * chance('s', i * 100 + c), 4) AS s
             FROM range(<runs>) t(i), range(6) u(c) WHERE i % 10 < 5)""",
    """INSERT INTO ledger_entry (id, run_id, project_id, host, purpose, calls, cached, tokens_in, tokens_out,
                                 cost, updated_at)
       SELECT uid('ledger', i * 2 + p), uid('run', i), <project>, 'vllm', CASE p WHEN 0 THEN 'target' ELSE
              'optimizer' END, 600, 50, 30000, 40000, 0.08 + 0.04 * chance('k', i), moment(i / <runs>, <days>)
       FROM range(<runs>) t(i), range(2) u(p) WHERE i % 10 NOT IN (5, 6, 7)""",
    """INSERT INTO reward_model (id, project_id, run_id, name, folder, backbone, metrics, simulated_share,
                                 created_at)
       SELECT uid('model', i), <project>, uid('run', i), 'Reward model ' || i, 'runs/' || i, 'minilm',
              '{"accuracy": ' || a || ', "accuracy_low": ' || a - 0.03 || ', "accuracy_high": ' || a + 0.03
              || ', "n_test": 900, "n_train": 4000, "seconds": 300, "simulated_share": 0}', 0,
              moment(i / <runs>, <days>)
       FROM (SELECT i, round(0.6 + 0.12 * sqrt(i / <runs>) + 0.02 * chance('a', i), 4) AS a
             FROM range(<runs>) t(i) WHERE i % 10 IN (5, 6, 7) AND i % 23 <> 7 AND i % 29 <> 3)""",
    """INSERT INTO interaction (id, project_id, prompt_id, input, response, detail, created_at)
       SELECT uid('use', i), <project>, uid('prompt', CASE WHEN i % 2 = 0 THEN 0 ELSE <prompts> - 1 END), 'q', 'a',
              '{}', moment(i / <uses>, <days>) FROM range(<uses>) t(i)""",
    """INSERT INTO signal (id, project_id, interaction_id, kind, value, detail, created_at)
       SELECT uid('signal', i), <project>, uid('use', i), 'thumb',
              CASE WHEN chance('u', i) < 0.55 + 0.1 * (i % 2) THEN 1 ELSE -1 END, '{}', moment(i / <uses>, <days>)
       FROM range(<uses>) t(i) WHERE i % 4 < 2""",
    "UPDATE project SET reward_model_id = (SELECT max(id) FROM reward_model)",
)
