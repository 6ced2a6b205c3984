"""A good call of every figure, sentence and page element, and what to spoil each argument with (see `inputs`)."""

import torch
from inputs import NAN, Arg, as_is, floats, heads, text, whole

import th_utils as th
from th_utils import prose
from th_utils.views import charts as views
from th_utils.views import lists as maps
from th_utils.views.live import attention_viewer as viewer
from th_utils.views.live import channel_playground as playground
from th_utils.views.live import composition_explorer as explorer
from th_utils.views.live import edit_dial as widgets
from th_utils.views.live import frame_slider as scrub
from th_utils.views.live import pattern_gallery as gallery
from th_utils.views.live import point_cloud as cloud
from th_utils.views.live import territory_atlas as atlas

TITLE = Arg("Heads look back", {"blank": " "})
ALT = Arg("A figure that shows what heads do here", {"short": "figure"})


def named(value: dict, **bad) -> Arg:
    """A mapping of names to numbers."""
    return Arg(value, {"empty": {}, **bad}, {}, ("axis", "panel", "x and y", "pairs"))


def _share(points: int = 8) -> torch.Tensor:
    return torch.full((points, 2), 0.5)


def figures(w) -> dict[str, tuple]:
    """By name: the function and its arguments."""
    end = dict(title=TITLE, alt=ALT)
    row, grid = torch.rand(3), torch.linspace(0, 1, 2)
    pattern = torch.eye(3)[None].repeat(2, 1, 1)
    tokens, names = (
        Arg(["a", "b", "c"], {"number": [1, 2, 3]}),
        Arg(["0.0", "0.1"], {"few": ["0.0"], "number": [1, 2]}, {}, ("heads",)),
    )
    patterns = floats(pattern, words=("tokens",))
    signed = torch.rand(4, 4) - 0.5
    x, y, unit = text("x (nats)"), text("y (nats)"), text("nats")
    picture = views.bars({"one": 1.0}, "Heads look back", "A figure that shows what heads do here", "nats")
    return {
        "views.head_map": (
            views.head_map,
            dict(values=floats(signed, True, (0, 1)), **end, unit=unit, marks=heads([(1, 1)], True)),
        ),
        "views.bars": (
            views.bars,
            dict(
                values=named({"a": 1.0, "b": 2.0}), **end, unit=unit, baseline=as_is(0.5), baseline_name=text("chance")
            ),
        ),
        "views.compare": (views.compare, dict(states=named({"a": {"m": 1.0}, "b": {"m": 2.0}}), **end)),
        "views.lines": (
            views.lines,
            dict(
                x=as_is([0, 1, 2]),
                series=named({"a": [1.0, 2, 3]}, short={"a": [1.0]}, none={"a": []}),
                **end,
                xlabel=x,
                ylabel=y,
                marks=as_is({"here": 1}),
            ),
        ),
        "views.strip": (
            views.strip,
            dict(
                groups=named({"a": row}, complex={"a": row + 1j}),
                **end,
                unit=unit,
                band=as_is((0.1, 0.2)),
                labels=Arg({"a": ["x", "y", "z"]}, dict(few={"a": ["x"]}, other={"b": ["x", "y", "z"]})),
                n_labels=whole(2, 0),
            ),
        ),
        "views.scatter": (
            views.scatter,
            dict(
                groups=named({"a": (row, row)}, short={"a": (row, row[:2])}, one={"a": (row,)}),
                **end,
                xlabel=x,
                ylabel=y,
                names=as_is({"here": (0.5, 0.5)}),
            ),
        ),
        "views.attention": (
            views.attention,
            dict(tokens=tokens, rows=named({"0.0": row}, short={"0.0": row[:1]}), **end),
        ),
        "views.circuit": (
            views.circuit,
            dict(
                columns=named({"early": [(0, 1)], "late": ["logits"]}),
                edges=Arg(
                    [((0, 1), "logits", 0.5)],
                    {
                        "unknown": [((3, 3), "logits", 0.5)],
                        "nan": [((0, 1), "logits", NAN)],
                        "two": [((0, 1), "logits")],
                    },
                    {},
                    ("edge",),
                ),
                **end,
            ),
        ),
        "views.plane": (
            views.plane,
            dict(
                x=floats(grid),
                y=floats(grid),
                values=floats(signed[:2, :2], True, inf=True),
                **end,
                xlabel=x,
                ylabel=y,
                unit=unit,
            ),
        ),
        "viewer.viewer": (viewer.viewer, dict(tokens=tokens, patterns=patterns, names=names, **end)),
        "gallery.gallery": (gallery.gallery, dict(tokens=tokens, patterns=patterns, names=names, **end)),
        "cloud.cloud": (
            cloud.cloud,
            dict(
                points=floats(torch.rand(4, 3)),
                groups=Arg(["a", "a", "b", "b"], {"few": ["a"], "blank": ["", "a", "a", "a"]}),
                **end,
                axes=Arg(("x", "y", "z"), {"two": ("x", "y"), "numbers": (1, 2, 3)}),
                unit=unit,
            ),
        ),
        "explorer.explorer": (
            explorer.explorer,
            dict(
                components=floats(w.scores, True, (2,), ("score",)),
                whole=floats(w.whole, True, words=("components", "score")),
                effects=floats(torch.rand(4, 4, 2), True, words=("components",), inf=True),
                readers=Arg(
                    [(2, 0), (3, 1)],
                    {"few": [(2, 0)], "late": [(2, 0), (9, 0)], "turned": [(1, 1), (1, 0)]},
                    {},
                    ("reader", "head"),
                ),
                **end,
                unit=unit,
                marks=heads([(1, 1)], True),
            ),
        ),
        "maps.numbers": (
            maps.numbers,
            dict(
                values=floats(torch.rand(2, 2), True),
                rows=as_is(["a", "b"]),
                columns=as_is(["c", "d"]),
                **end,
                unit=unit,
                xlabel=x,
                ylabel=y,
            ),
        ),
        "maps.clouds": (
            maps.clouds,
            dict(
                panels=named(
                    {"p": (torch.rand(3, 2), [0, 1, 1])},
                    labels={"p": (torch.rand(3, 2), [0, 1, 2])},
                    short={"p": (torch.rand(3, 2), [0])},
                ),
                names=as_is(["a", "b"]),
                **end,
                xlabel=x,
                ylabel=y,
            ),
        ),
        "maps.territories": (
            maps.territories,
            dict(
                x=as_is(grid),
                y=as_is(grid),
                panels=named({"p": [[0, 1], [1, 1]]}, late={"p": [[0, 2], [1, 1]]}, shape={"p": [[0, 1]]}),
                names=as_is(["a", "b"]),
                **end,
                xlabel=x,
                ylabel=y,
            ),
        ),
        "maps.nth": (maps.nth, dict(i=whole(3, 0))),
        "maps.shades": (maps.shades, dict(n=as_is(3))),
        "atlas.atlas": (
            atlas.atlas,
            dict(
                axes=named(
                    {"x": grid, "y": grid, "z": grid},
                    two={"x": grid, "y": grid},
                    turned={"x": grid.flip(0), "y": grid, "z": grid},
                ),
                shares=named(
                    {"p": _share()}, short={"p": _share(7)}, large={"p": _share() * 2}, nan={"p": _share() * NAN}
                ),
                natural=named(
                    {"p": torch.rand(2, 3)}, other={"q": torch.rand(2, 3)}, nan={"p": torch.rand(2, 3) * NAN}
                ),
                names=Arg(["a", "b"], {"few": ["a"], "blank": ["", "b"]}, {}, ("outcome",)),
                **end,
                unit=Arg("share", {"blank": " "}),
            ),
        ),
        "scrub.scrub": (
            scrub.scrub,
            dict(
                frames=named({"1": picture, "2": picture}, one={"1": picture}),
                label=Arg("step", {"blank": " "}),
                start=Arg("2", {"other": "x", "list": ["2"]}),
            ),
        ),
        "widgets.edit_dial": (
            widgets.edit_dial,
            dict(
                settings=Arg(
                    [{"a": 0.0}, {"a": 1.0}],
                    {"one": [{"a": 0.0}], "same": [{"a": 0.0}] * 2, "nan": [{"a": NAN}, {"a": 1.0}]},
                    {},
                    ("setting",),
                ),
                measure=Arg(dict, {"nan": lambda s: {"a": NAN}, "none": lambda s: {}}, {}),
                **end,
                stops=whole(2, 2),
            ),
        ),
        "playground.playground": (
            playground.playground,
            dict(
                model=as_is(w.model),
                weights=w.a_weights(),
                base=Arg(w.end, {"other": th.rows(w.end, [0])}, {}, ("run",)),
                prompts=Arg(w.prompts, {"other": w.prompts.select([0])}, {}, ("run",)),
                target=as_is(w.target),
                heads=heads([(2, 1)]),
                **end,
                limits=floats(torch.tensor([50.0, 50.0])),
            ),
        ),
        "prose.say": (prose.say, dict(text=as_is("a head"), name=Arg("n", {"blank": " ", "number": 3}))),
        "prose.table": (
            prose.table,
            dict(columns=as_is(["a", "b"]), rows=Arg([[1, 2]], {"short": [[1]]}, {}, ("row",))),
        ),
        "prose.glued": (prose.glued, dict(name=Arg("n", {"blank": " ", "number": 3}))),
    }
