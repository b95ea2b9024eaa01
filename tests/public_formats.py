"""Made-up files in the formats of public data sets: names, not rows, are real.

Each function writes the files of one data set to a directory. Users are drawn
from 60, items from 40, times from five days.
"""

import datetime
import gzip
import pathlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

USERS, ITEMS, DAYS, ROWS = 60, 40, 5, 600
START = int(datetime.datetime(2022, 5, 2, tzinfo=datetime.UTC).timestamp())


class Draw:
    """Columns of made-up rows.

    Args:
      seed: of the random numbers.
      rows: how many rows.
    """

    def __init__(self, seed: int, rows: int = ROWS):
        self.rng = np.random.default_rng(seed)
        self.rows = rows

    def user(self) -> np.ndarray:
        """Return ids from 1001 on."""
        return 1001 + self.rng.integers(0, USERS, self.rows)

    def item(self, first: int = 7001) -> np.ndarray:
        """Return ids from `first` on."""
        return first + self.rng.integers(0, ITEMS, self.rows)

    def time(self, start: int = START) -> np.ndarray:
        """Return seconds in order."""
        seconds = self.rng.integers(0, DAYS * 86_400, self.rows)
        return start + np.sort(seconds)

    def few(self, *values) -> np.ndarray:
        """Return one of the values a row."""
        return np.array(values)[self.rng.integers(0, len(values), self.rows)]

    def click(self) -> np.ndarray:
        """Return labels, 30 % of them 1."""
        return (self.rng.random(self.rows) < 0.3).astype(int)

    def number(self, high: float, digits: int = 2) -> np.ndarray:
        """Return numbers from 0 to `high`."""
        return np.round(self.rng.random(self.rows) * high, digits)


def write(
    path: pathlib.Path, columns: dict, delimiter=",", header=True
) -> None:
    """Write a text file; values are written as they are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [map(str, row) for row in zip(*columns.values(), strict=True)]
    lines = [delimiter.join(columns)] if header else []
    lines += [delimiter.join(row) for row in rows]
    content = ("\n".join(lines) + "\n").encode()
    path.write_bytes(
        gzip.compress(content) if path.suffix == ".gz" else content
    )


def text_of(seconds: np.ndarray, form: str) -> list[str]:
    """Return times written in a format, UTC."""
    return [
        datetime.datetime.fromtimestamp(int(s), datetime.UTC).strftime(form)
        for s in seconds
    ]


def kuairand(folder: pathlib.Path) -> None:
    """KuaiRand-Pure: logs, users and videos; times of China (+8)."""
    for seed, name in enumerate(
        (
            "log_standard_4_08_to_4_21_pure",
            "log_standard_4_22_to_5_08_pure",
            "log_random_4_22_to_5_08_pure",
        )
    ):
        d = Draw(seed)
        time = d.time()
        local = time + 8 * 3600
        write(
            folder / f"{name}.csv",
            {
                "user_id": d.user(),
                "video_id": d.item(),
                "date": text_of(local, "%Y%m%d"),
                "hourmin": [int(t) for t in text_of(local, "%H00")],
                "time_ms": time * 1000 + d.rng.integers(0, 1000, d.rows),
                "is_click": d.click(),
                "is_like": d.few(0, 0, 1),
                "is_follow": d.few(0, 0, 1),
                "is_comment": d.few(0, 0, 1),
                "is_forward": d.few(0, 0, 1),
                "is_hate": d.few(0, 0, 1),
                "long_view": d.few(0, 1),
                "play_time_ms": d.rng.integers(0, 90_000, d.rows),
                "duration_ms": 1000 * d.rng.integers(5, 90, d.rows),
                "profile_stay_time": d.few(0, 0, 900),
                "comment_stay_time": d.few(0, 0, 800),
                "is_profile_enter": d.few(0, 1),
                "is_rand": np.full(d.rows, int("random" in name)),
                "tab": d.few(0, 1, 1, 1, 2, 4),
            },
        )
    d = Draw(3, USERS)
    write(
        folder / "user_features_pure.csv",
        {
            "user_id": 1001 + np.arange(USERS),
            "user_active_degree": d.few("full_active", "high_active"),
            "is_video_author": d.few(0, 1),
            "follow_user_num": d.rng.integers(0, 500, USERS),
            "follow_user_num_range": d.few("0", '"(0,10]"', "500+"),
            "fans_user_num_range": d.few('"[1,10)"', '"[100,1k)"'),
            "register_days": d.rng.integers(1, 2000, USERS),
            "register_days_range": d.few("61-90", "366-730"),
            "onehot_feat0": d.few(0, 1),
            "onehot_feat1": d.few(0, 1, 2, 3),
        },
    )
    d = Draw(4, ITEMS)
    write(
        folder / "video_features_basic_pure.csv",
        {
            "video_id": 7001 + np.arange(ITEMS),
            "author_id": d.few(11, 12, 13, 14, 15),
            "video_type": [
                "AD" if i % 5 == 0 else "NORMAL" for i in range(ITEMS)
            ],
            "upload_dt": d.few("2022-01-05", "2022-02-11"),
            "upload_type": d.few("LongImport", "ShortCamera"),
            "visible_status": np.ones(ITEMS, int),
            "video_duration": 1000 * d.rng.integers(5, 90, ITEMS),
            "server_width": d.few(720, 1080),
            "server_height": d.few(1280, 1920),
            "music_id": d.few(501, 502, 503),
            "music_type": d.few(4, 8, 9),
            "tag": d.few("12", '"12,65"', "7"),
        },
    )
    write(
        folder / "video_features_statistic_pure.csv",
        {
            "video_id": 7001 + np.arange(ITEMS),
            "counts": d.rng.integers(1, 30, ITEMS),
            "show_cnt": d.rng.integers(1, 9000, ITEMS),
        },
    )


def tenrec(folder: pathlib.Path) -> None:
    """Tenrec: two platforms that share users, without any time."""
    for seed, (name, rows) in enumerate((("QK", ROWS), ("QB", ROWS // 2))):
        d = Draw(seed, rows)
        write(
            folder / f"{name}-video.csv",
            {
                "user_id": d.user(),
                "item_id": d.item(),
                "click": d.click(),
                "follow": d.few(0, 0, 1),
                "like": d.few(0, 0, 1),
                "share": d.few(0, 0, 1),
                "video_category": d.few(0, 1),
                "watching_times": d.few(0, 1, 2),
                "gender": d.few(0, 1, 2),
                "age": d.few(0, 1, 2, 3, 4, 5, 6, 7),
            },
        )


def ali_display(folder: pathlib.Path) -> None:
    """Ali Display Ad Click: ads, profiles, and behaviours on categories."""
    d = Draw(0)
    click = d.click()
    write(
        folder / "raw_sample.csv",
        {
            "user": d.user(),
            "time_stamp": d.time(),
            "adgroup_id": d.item(),
            "pid": d.few("430548_1007", "430539_1007"),
            "nonclk": 1 - click,
            "clk": click,
        },
    )
    d = Draw(1, ITEMS)
    write(
        folder / "ad_feature.csv",
        {
            "adgroup_id": 7001 + np.arange(ITEMS),
            "cate_id": 301 + np.arange(ITEMS) % 12,
            "campaign_id": 9001 + np.arange(ITEMS),
            "customer": 4001 + np.arange(ITEMS) % 20,
            "brand": [
                f"{501 + i % 15}" if i % 7 else "NULL" for i in range(ITEMS)
            ],
            "price": d.number(300),
        },
    )
    d = Draw(2, USERS)
    write(
        folder / "user_profile.csv",
        {
            "userid": 1001 + np.arange(USERS),
            "cms_segid": d.few(*range(20)),
            "cms_group_id": d.few(*range(12)),
            "final_gender_code": d.few(1, 2),
            "age_level": d.few(1, 2, 3, 4, 5),
            "pvalue_level": d.few("", "1", "2", "3"),
            "shopping_level": d.few(1, 2, 3),
            "occupation": d.few(0, 1),
            "new_user_class_level ": d.few("", "1", "2"),
        },
    )
    d = Draw(3, 3 * ROWS)
    write(
        folder / "behavior_log.csv",
        {
            "user": d.user(),
            "time_stamp": d.time(),
            "btag": d.few("pv", "pv", "pv", "pv", "cart", "fav", "buy"),
            "cate": d.few(*range(301, 320)),
            "brand": d.few(*range(501, 530)),
        },
    )


def digix(folder: pathlib.Path) -> None:
    """DIGIX 2022: ads and feeds with lists joined by ^; no label in test."""
    for part, rows in (("train", ROWS), ("test", ROWS // 4)):
        d = Draw(len(part), rows)
        shared = d.few("103^126^150", "103^150", "126", "126^150^103")
        ads = {
            "log_id": 100_000 + np.arange(rows),
            "label": d.click(),
            "user_id": d.user(),
            "age": d.few(2, 3, 4, 5),
            "gender": d.few(2, 3, 4),
            "residence": d.few(*range(10, 30)),
            "city": d.few(*range(100, 160)),
            "city_rank": d.few(2, 3, 4, 5),
            "device_name": d.few(*range(100, 130)),
            "device_size": d.few(1080, 2120, 2141),
            "net_type": d.few(4, 5, 6, 7),
            "task_id": d.item(20_001),
            "adv_id": d.item(30_001),
            "creat_type_cd": d.few(2, 5, 8),
            "slot_id": d.few(11, 16, 18, 22),
            "hispace_app_tags": d.few(14, 18, 39, 47),
            "app_score": d.few("9.0", "10.0"),
            "ad_click_list_v001": d.few("30001^30004", "30002", "30001^30002"),
            "pt_d": text_of(d.time(), "%Y%m%d%H%M"),
            "u_newsCatInterestsST": shared,
            "u_refreshTimes": d.few(0, 1, 2, 3),
            "u_feedLifeCycle": d.few(13, 15, 17),
        }
        feeds = {
            "u_userId": d.user(),
            "u_phonePrice": d.few(10, 12, 16),
            "u_browserLifeCycle": d.few(10, 15, 17),
            "u_browserMode": d.few(10, 11, 14),
            "u_feedLifeCycle": d.few(13, 15, 17),
            "u_refreshTimes": d.few(0, 1, 2, 3),
            "u_newsCatInterests": d.few("20^55^112", "20", "55^112", "112"),
            "u_newsCatInterestsST": shared,
            "i_docId": [f"{i:032x}" for i in d.item()],
            "i_s_sourceId": d.few(*[f"s{i:08x}" for i in range(12)]),
            "i_regionEntity": d.few(0, 0, 64, 128),
            "i_cat": d.few(20, 55, 112, 168),
            "i_entities": d.few("e1^e2", "e2^e3", "e1", "e3^e1"),
            "i_dislikeTimes": d.few(0, 5, 9),
            "i_upTimes": d.few(0, 3, 7),
            "i_dtype": d.few(10, 11, 13),
            "e_ch": d.few(4, 6, 19),
            "e_po": d.few(1, 2, 3, 4),
            "e_et": text_of(d.time(), "%Y%m%d%H%M"),
            "label": 2 * d.click() - 1,
            "cillabel": 2 * d.click() - 1,
            "pro": d.few(0, 20, 40, 60),
        }
        if part == "test":
            del ads["label"], feeds["label"], feeds["cillabel"]
        write(folder / part / f"{part}_data_ads.csv", ads)
        write(folder / part / f"{part}_data_feeds.csv", feeds)


def mind(folder: pathlib.Path) -> None:
    """MIND: lists of impressions with labels, and news; no headers."""
    d = Draw(0, ROWS // 2)
    shown = [
        " ".join(
            f"N{7001 + i}-{int(n == 0)}"
            for n, i in enumerate(d.rng.permutation(ITEMS)[:6])
        )
        for _ in range(d.rows)
    ]
    write(
        folder / "behaviors.tsv",
        {
            "id": 1 + np.arange(d.rows),
            "user": [f"U{u}" for u in d.user()],
            "time": [
                # No zeros in front, as in the data set.
                datetime.datetime.fromtimestamp(int(t), datetime.UTC).strftime(
                    "%-m/%-d/%Y %-I:%M:%S %p"
                )
                for t in d.time()
            ],
            "history": d.few("", "N7001", "N7001 N7003 N7002"),
            "shown": shown,
        },
        "\t",
        header=False,
    )
    write(
        folder / "news.tsv",
        {
            "id": [f"N{7001 + i}" for i in range(ITEMS)],
            "category": Draw(1, ITEMS).few("news", "sports", "autos", "travel"),
            "subcategory": Draw(2, ITEMS).few("a", "b", "c", "d", "e"),
            "title": [f'The "{i}th" of many titles' for i in range(ITEMS)],
            "abstract": [f"What title {i} is about." for i in range(ITEMS)],
            "url": [f"https://example.org/{i}.html" for i in range(ITEMS)],
            "title_entities": ["[]"] * ITEMS,
            "abstract_entities": ["[]"] * ITEMS,
        },
        "\t",
        header=False,
    )


def ebnerd(folder: pathlib.Path) -> None:
    """EB-NeRD: lists of articles in view and clicked; null: front page."""
    folder.mkdir(parents=True, exist_ok=True)
    d = Draw(0, ROWS // 2)
    shown = [
        (9_700_001 + d.rng.permutation(ITEMS)[:7]).tolist()
        for _ in range(d.rows)
    ]
    front = d.rng.random(d.rows) < 0.7
    page = 9_700_001 + d.rng.integers(0, ITEMS, d.rows)
    table = pa.table(
        {
            "impression_id": pa.array(1 + np.arange(d.rows), pa.uint32()),
            "article_id": pa.array(page, pa.int32(), mask=front),
            "impression_time": pa.array(d.time() * 10**6, pa.timestamp("us")),
            "read_time": pa.array(d.number(60), pa.float32()),
            "scroll_percentage": pa.array(d.number(100), pa.float32()),
            "device_type": pa.array(d.few(1, 2, 3), pa.int8()),
            "article_ids_inview": pa.array(shown, pa.large_list(pa.int32())),
            "article_ids_clicked": pa.array(
                [row[:1] for row in shown], pa.large_list(pa.int32())
            ),
            "user_id": pa.array(d.user(), pa.uint32()),
            "is_sso_user": d.few(True, False),
            "gender": pa.array(d.few(0, 1), pa.int8(), mask=front),
            "is_subscriber": d.few(True, False),
            "session_id": pa.array(500 + np.arange(d.rows), pa.uint32()),
            "next_read_time": pa.array(d.number(60), pa.float32()),
            "next_scroll_percentage": pa.array(d.number(100), pa.float32()),
        }
    )
    pq.write_table(table, folder / "behaviors.parquet")
    d = Draw(1, ITEMS)
    articles = pa.table(
        {
            "article_id": pa.array(9_700_001 + np.arange(ITEMS), pa.int32()),
            "title": [f"A title of article {i}" for i in range(ITEMS)],
            "premium": d.few(True, False),
            "article_type": d.few("article_default", "article_video"),
            "category": pa.array(d.few(118, 140, 142), pa.int16()),
            "category_str": d.few("nyheder", "sport"),
            "sentiment_score": pa.array(d.number(1, 4), pa.float32()),
        }
    )
    pq.write_table(articles, folder / "articles.parquet")


def criteo_attribution(folder: pathlib.Path) -> None:
    """Criteo attribution: tabs, gzip, seconds since the log began."""
    d = Draw(0)
    click = d.click()
    columns = {
        "timestamp": d.time(0),
        "uid": d.user() * 1_000_003,
        "campaign": d.item(10_341_182),
        "conversion": d.few(0, 0, 0, 1),
        "conversion_timestamp": np.full(d.rows, -1),
        "conversion_id": np.full(d.rows, -1),
        "attribution": d.few(0, 0, 0, 1),
        "click": click,
        "click_pos": d.few(-1, 0, 1),
        "click_nb": d.few(-1, 1, 2),
        "cost": d.number(0.01, 8),
        "cpo": d.number(0.5, 6),
        "time_since_last_click": d.rng.integers(-1, 90_000, d.rows),
        **{
            f"cat{i}": d.few(*range(100 * i, 100 * i + 9)) for i in range(1, 10)
        },
    }
    path = folder / "criteo_attribution_dataset.tsv.gz"
    write(path, columns, "\t")


def avazu(folder: pathlib.Path) -> None:
    """Avazu: hours as numbers, ids as hashes, rows of sites and of apps."""
    d = Draw(0)
    app = d.rng.random(d.rows) < 0.35
    start = int(
        datetime.datetime(2014, 10, 21, tzinfo=datetime.UTC).timestamp()
    )
    columns = {
        "id": [f"{10**18 + 17 * i}" for i in range(d.rows)],
        "click": d.click(),
        "hour": text_of(d.time(start), "%y%m%d%H"),
        "C1": d.few(1002, 1005, 1010),
        "banner_pos": d.few(0, 1),
        "site_id": np.where(app, "85f751fd", d.few("1fbe01fe", "fe8cc448")),
        "site_domain": np.where(app, "c4e18dd6", d.few("f3845767", "9166c161")),
        "site_category": np.where(
            app, "50e219e0", d.few("28905ebd", "0569f928")
        ),
        "app_id": np.where(app, d.few("92f5800b", "e2fcccd2"), "ecad2386"),
        "app_domain": np.where(app, d.few("2347f47a", "ae637522"), "7801e8d9"),
        "app_category": np.where(
            app, d.few("0f2161f8", "cef3e649"), "07d7df22"
        ),
        "device_id": np.where(
            d.rng.random(d.rows) < 0.8, "a99f214a", "c357dbff"
        ),
        "device_ip": [f"{u:08x}" for u in d.user() * 65_537],
        "device_model": d.few("44956a24", "711ee120", "8a4875bd"),
        "device_type": d.few(0, 1),
        "device_conn_type": d.few(0, 2),
        "C14": d.item(15_701),
        "C15": d.few(320, 300),
        "C16": d.few(50, 250),
        "C17": d.few(1722, 1872),
        "C18": d.few(0, 1, 3),
        "C19": d.few(35, 39, 161),
        "C20": d.few(-1, 100084),
        "C21": d.few(79, 221),
    }
    write(folder / "train.csv", columns)


def amazon(folder: pathlib.Path) -> None:
    """Amazon reviews 2023: ratings of two categories that share users."""
    for seed, (name, rows) in enumerate(
        (("Books", ROWS), ("Movies_and_TV", ROWS // 3))
    ):
        d = Draw(seed, rows)
        write(
            folder / f"{name}.csv",
            {
                "user_id": [f"AE{u}XQ" for u in d.user()],
                "parent_asin": [f"B0{i}{name[0]}" for i in d.item()],
                "rating": d.few("1.0", "2.0", "3.0", "4.0", "5.0", "5.0"),
                "timestamp": d.time() * 1000 + 17,
            },
        )


ALL = {
    "kuairand": kuairand,
    "tenrec": tenrec,
    "ali_display": ali_display,
    "digix": digix,
    "mind": mind,
    "ebnerd": ebnerd,
    "criteo_attribution": criteo_attribution,
    "avazu": avazu,
    "amazon": amazon,
}
