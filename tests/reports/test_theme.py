from prunemark.reports import theme


def test_no_two_lines_look_alike_in_a_chart_of_many() -> None:
    names = ["random", "magnitude", "snip", "grasp", "synflow", *(f"mine-{i}" for i in range(30)), "lottery-rewinding"]
    looks = [(style.colour, style.dash, style.shape) for style in theme.series_styles(names).values()]
    assert len(looks) == len(set(looks)) == 36


def test_a_method_looks_the_same_whatever_stands_beside_it() -> None:
    assert theme.series_styles(["mine", "grasp"])["grasp"] == theme.series_styles(["grasp", "snip"])["grasp"]


def test_a_name_that_reads_like_one_of_ours_stays_apart() -> None:
    labels = [style.display_name for style in theme.series_styles(["snip", "SNIP"]).values()]
    assert labels == ["SNIP", "SNIP (another)"]


def test_benchmarks_come_last() -> None:
    assert list(theme.series_styles(["lottery-rewinding", "mine", "snip"])) == ["snip", "mine", "lottery-rewinding"]


def test_benchmarks_of_one_kind_share_a_look_and_no_method_has_it() -> None:
    names = ["imp", "imp-rewinding", "magnitude-after-training", "lottery-rewinding", *(f"m{i}" for i in range(60))]
    styles = theme.series_styles(names)
    assert len({(style.colour, style.dash, style.shape) for style in styles.values()}) == len(names)
    assert list(styles)[-4:] == ["magnitude-after-training", "lottery-rewinding", "imp", "imp-rewinding"]
    rewound = theme.series_styles(["lottery-rewinding:2ep"])["lottery-rewinding:2ep"]
    assert rewound.display_name == theme.display_name("lottery-rewinding:2ep") == "lottery ticket rewinding (2ep)"
    assert rewound.colour == styles["lottery-rewinding"].colour


def test_variants_have_colours_of_their_own_and_the_method_itself_comes_first() -> None:
    names = ["10 rounds", "100 rounds", theme.ITSELF, "reversed", "1 example", "100 examples", "halves", "1 round"]
    styles = theme.variant_styles(names)
    assert list(styles) == [theme.ITSELF, *(name for name in names if name != theme.ITSELF)]
    assert len({style.colour for style in styles.values()}) == len(names)
    assert (styles[theme.ITSELF].colour, styles[theme.ITSELF].dash) == (theme.INK, theme.SOLID)


def _luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(one: str, other: str) -> float:
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_text_of_charts_has_the_contrast_of_wcag_aa_on_both_pages() -> None:
    for colour in (theme.INK, theme.SOFT):
        assert _contrast(colour, "#ffffff") >= 4.5
        assert _contrast(theme.ON_DARK[colour], "#14171b") >= 4.5
    for ground in theme.RANGES.values():
        assert _contrast(theme.INK, ground) >= 4.5
        assert _contrast(theme.ON_DARK[theme.INK], theme.ON_DARK[ground]) >= 4.5
