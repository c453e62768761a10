"""Reading Broden folders: the four images of the published method's arithmetic, and whatever can be wrong with one."""

import csv
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from kdlens.data.concepts import Broden, ConceptData
from kdlens.data.concepts.broden import NETDISSECT_MEAN, NETDISSECT_STD, label_channel
from kdlens.errors import DataError

HEAD = "image,split,ih,iw,sh,sw,object,part,scene,color"
LABELS = {1: "one", 2: "two", 3: "c3", 4: "s4", 300: "p300"}
IN_CATEGORY = {"object": (1, 2), "part": (300,), "scene": (4,), "color": (3,)}


def encoded(labels):
    """Bytes of a label image as the format has them, written out without kdlens."""
    image = np.zeros((*labels.shape, 3), dtype=np.uint8)
    for place, label in np.ndenumerate(labels):
        image[place] = (label % 256, label // 256, 0)
    return image


def write_index(folder, lines, head=HEAD):
    (folder / "index.csv").write_text("\n".join([head, *lines]) + "\n", encoding="utf-8")


@pytest.fixture
def four(tmp_path, disk):
    """Four images of 8 x 8 with masks of 4 x 4."""
    masks = {
        "x/0_object.png": [[2] * 4] * 2 + [[1] * 4] * 2,
        "x/0_part.png": [[0] * 4] * 3 + [[0, 0, 0, 300]],
        "x/1_object.png": [[1] * 4] + [[0] * 4] * 3,
        "x/3_object.png": [[2, 0, 0, 0]] + [[0] * 4] * 3,
    }
    for name, labels in masks.items():
        disk.save(tmp_path / "images" / name, encoded(np.array(labels)))
    for i in range(4):
        disk.save(tmp_path / "images" / "x" / f"{i}.jpg", disk.photo(i, (8, 8)))
    write_index(
        tmp_path,
        [
            "x/0.jpg,train,8,8,4,4,x/0_object.png,x/0_part.png,4,3",
            "x/1.jpg,val,8,8,4,4,x/1_object.png,,,3",
            "x/2.jpg,train,8,8,4,4,,,4,3",
            "x/3.jpg,train,8,8,4,4,x/3_object.png,,,3",
        ],
    )
    rows = [f"{number},{name},x(1),4,1.5," for number, name in LABELS.items()]
    (tmp_path / "label.csv").write_text("\n".join(["number,name,category,frequency,coverage,syns", *rows]) + "\n")
    rows = [f"{name},{min(n)},{max(n)},{len(n)},4" for name, n in IN_CATEGORY.items()]
    (tmp_path / "category.csv").write_text("\n".join(["name,first,last,count,frequency", *rows]) + "\n")
    for category, numbers in IN_CATEGORY.items():
        rows = [f"{code},{number},{LABELS[number]},4,1.5" for code, number in enumerate(numbers, start=1)]
        (tmp_path / f"c_{category}.csv").write_text("\n".join(["code,number,name,frequency,coverage", *rows]) + "\n")
    return tmp_path


def truth(data, label):
    """Pixels of a label in all images; a label of a whole image covers it."""
    total = 0
    for i in range(len(data)):
        pixels, whole = data.annotation(i)
        total += int((pixels == label).sum()) + whole.count(label) * pixels[0].numel()
    return total


def test_the_four_images(four):
    data = Broden(four)
    assert isinstance(data, ConceptData)
    assert data.vocabulary.categories == ("object", "part", "scene", "color")
    assert {data.vocabulary.names[label]: truth(data, label) for label in LABELS} == {
        "one": 12, "two": 9, "c3": 64, "s4": 32, "p300": 1,
    }  # fmt: skip
    pixels, whole = data.annotation(0)
    assert pixels.shape == (2, 4, 4)
    assert pixels.dtype == torch.int32
    assert whole == (4, 3)
    assert pixels[0].tolist() == [[2] * 4, [2] * 4, [1] * 4, [1] * 4]
    assert pixels[1].nonzero().tolist() == [[3, 3]]
    assert int(pixels[1, 3, 3]) == 300
    assert data.annotation(2).pixels.tolist() == [[[0] * 4] * 4]


def test_numbers_with_gaps(four):
    words = Broden(four).vocabulary
    assert len(words.names) == 301
    assert [i for i, name in enumerate(words.names) if name] == [1, 2, 3, 4, 300]
    assert words.primary[[0, 1, 2, 3, 4, 5, 299, 300]].tolist() == [-1, 0, 0, 3, 2, -1, -1, 1]


@pytest.mark.parametrize(("red", "green", "label"), [(255, 0, 255), (0, 1, 256), (44, 1, 300), (255, 255, 65535)])
def test_a_label_is_red_and_256_times_green(tmp_path, disk, red, green, label):
    path = disk.save(tmp_path / "mask.png", np.array([[[red, green, 0]]], dtype=np.uint8))
    assert label_channel(path, (1, 1)).tolist() == [[label]]


def test_images_come_as_they_are_and_grey_ones_as_rgb(four, disk):
    data = Broden(four)
    expected = np.array(Image.open(four / "images" / "x" / "0.jpg"))
    assert torch.equal(data.image(0), torch.from_numpy(expected).permute(2, 0, 1).float() / 255)
    disk.save(four / "images" / "x" / "1.jpg", disk.photo(1, (8, 8))[:, :, 0])
    grey = data.image(1)
    assert grey.shape == (3, 8, 8)
    assert torch.equal(grey[0], grey[1])
    assert torch.equal(grey[0], grey[2])


def test_the_published_normalisation():
    mean, std = torch.tensor(NETDISSECT_MEAN), torch.tensor(NETDISSECT_STD)
    rgb = torch.tensor([200.0, 100.0, 50.0])
    published = (rgb - torch.tensor([124.6901, 118.6897, 109.5388])) / 57.12
    torch.testing.assert_close((rgb / 255 - mean) / std, published, rtol=0, atol=1e-5)


def test_several_masks_and_numbers_beside_masks(four, disk):
    labels = np.array([[0, 0, 1, 1]] * 4)
    disk.save(four / "images" / "x" / "0_object_2.png", encoded(labels))
    write_index(four, ["x/0.jpg,train,8,8,4,4,x/0_object.png;x/0_object_2.png;2,,4;1,"])
    pixels, whole = Broden(four).annotation(0)
    assert pixels.shape == (3, 4, 4)
    assert pixels[1].tolist() == labels.tolist()
    assert pixels[2].unique().tolist() == [2]  # the number has become a mask that is full
    assert whole == (4, 1)  # numbers alone stay labels of the whole image


def test_chosen_categories_keep_the_order_of_the_data(four):
    data = Broden(four, ["color", "object"])
    assert data.vocabulary.categories == ("object", "color")
    assert data.vocabulary.primary[[1, 3, 4, 300]].tolist() == [0, 1, -1, -1]
    assert data.annotation(0).whole == (3,)
    assert Broden(four, "part").vocabulary.categories == ("part",)


def test_images_without_a_chosen_label_are_left_out(four):
    assert [file.name for file in Broden(four, ["object"]).files] == ["0.jpg", "1.jpg", "3.jpg"]
    assert [file.name for file in Broden(four, ["scene", "part"]).files] == ["0.jpg", "2.jpg"]


def test_files_of_other_categories_are_not_opened(four):
    for name in ("c_part.csv", "c_color.csv", "images/x/0_part.png"):
        (four / name).unlink()
    (four / "images/x/1_object.png").write_bytes(b"nothing")
    write_index(four, ["x/0.jpg,train,8,8,4,4,x/0_object.png,../../part.png,999,/etc/passwd"])
    data = Broden(four, ["object"])
    assert data.annotation(0).whole == ()
    assert data.annotation(0).pixels.shape == (1, 4, 4)


def test_the_primary_category_covers_most_and_of_equals_comes_last(four):
    for category, rows in {
        "object": ["1,1,one,4,1.5", "2,2,two,4,2"],
        "part": ["1,1,one,4,2.5", "2,2,two,4,2.0"],
    }.items():
        (four / f"c_{category}.csv").write_text("\n".join(["code,number,name,frequency,coverage", *rows]) + "\n")
    words = Broden(four, ["object", "part"]).vocabulary
    assert words.primary[[1, 2]].tolist() == [1, 1]
    assert Broden(four, ["object"]).vocabulary.primary[[1, 2]].tolist() == [0, 0]
    (four / "c_part.csv").write_text("code,number,name,frequency,coverage\n1,1,one,4,1\n2,2,two,4,1.99\n")
    assert Broden(four, ["object", "part"]).vocabulary.primary[[1, 2]].tolist() == [0, 0]


def test_another_index(four):
    text = (four / "index.csv").read_text().splitlines()
    (four / "index_sm.csv").write_text("\n".join(text[:3]))
    assert len(Broden(four, index="index_sm.csv")) == 2


def test_a_byte_order_mark_blank_lines_spaces_and_other_line_ends(four):
    for path in four.glob("*.csv"):
        lines = path.read_text().splitlines()
        lines[1:1] = ["", ",,,,,,,,," if path.stem == "index" else ""]
        path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join([*lines, "", ""]).replace(",", " , ").encode())
    data = Broden(four)
    assert len(data) == 4
    assert data.vocabulary.names[1] == "one"
    assert data.annotation(0).whole == (4, 3)


def test_names_beyond_ascii_and_quoted_cells(four):
    text = (four / "label.csv").read_text().replace("1,one,", '1,"crêperie, ""la"" 屋",', 1)
    (four / "label.csv").write_text(text, encoding="utf-8")
    assert Broden(four).vocabulary.names[1] == 'crêperie, "la" 屋'
    (four / "label.csv").write_bytes(text.replace("屋", "").encode("latin-1"))
    with pytest.raises(DataError, match=r"label\.csv is not UTF-8 text .*; save it as UTF-8"):
        Broden(four)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("x/9.jpg,train,8,8,4,4,x/no.png,,,", r"index\.csv, line 2 \(x/9\.jpg\): there is no image .*no\.png"),
        ("x/9.jpg,train,8,8,4,4,,,999,", r"line 2 \(x/9\.jpg\): label 999, which label\.csv does not have"),
        ("x/9.jpg,train,8,8,4,4,,,5,", "label 5, which label.csv does not have"),
        ("x/9.jpg,train,8,8,4,4,,,0,", "label 0, which label.csv does not have"),
        ("x/9.jpg,train,8,8,4,4,,,4;x/0_object.png;70000,", "label 70000, which"),
        ("x/9.jpg,train,8,8,5,4,x/0_object.png,,,", r"0_object\.png is 4 x 4; sh and sw are 5 x 4"),
        ("x/9.jpg,train,8,8,4,4,../../secret.png,,,", r"line 2 .*names '\.\./\.\./secret\.png', which leads out"),
        ("x/9.jpg,train,8,8,4,4,/etc/passwd,,,", "'/etc/passwd', which leads out of the folder; refused"),
        ("x/9.jpg,train,8,8,4,4,C:\\secret.png,,,", "leads out of the folder; refused"),
        ("x/9.jpg,train,8,8,4,4,x/blue.png,,,", r"blue\.png has blue pixels; expected labels written as red \+ 256"),
        ("x/9.jpg,train,8,8,4,4,x/grey.png,,,", r"grey\.png has blue pixels"),
        ("x/9.jpg,train,8,8,4,4,x/unknown.png,,,", r"unknown\.png holds label 7, which label\.csv does not have"),
        ("x/9.jpg,train,8,8,4,4,x/cut.png,,,", r"line 2 \(x/9\.jpg\): .*cut\.png is truncated or not an image"),
        ("x/9.jpg,train,8,8,4,4,x/text.png,,,", r"text\.png is truncated or not an image"),
        ("x/9.jpg,train,8,8,4,4,x/huge.png,,,", r"huge\.png claims to be implausibly large and was not decoded"),
    ],
)
def test_what_is_wrong_with_an_annotation_concerns_that_image_alone(four, disk, line, text):
    folder = four / "images" / "x"
    mask = encoded(np.full((4, 4), 7))
    disk.save(folder / "unknown.png", mask)
    disk.save(folder / "grey.png", np.full((4, 4), 7, dtype=np.uint8))
    disk.save(folder / "blue.png", mask + np.uint8(1))
    disk.truncate(disk.save(folder / "cut.png", disk.photo(0, (4, 4))))
    (folder / "text.png").write_text("no image")
    (folder / "huge.png").write_bytes(huge_png())
    lines = (four / "index.csv").read_text().splitlines()[1:]
    write_index(four, [line, *lines])
    data = Broden(four)
    assert len(data) == 5
    with pytest.raises(DataError, match=text) as caught:
        data.annotation(0)
    assert "\n" not in str(caught.value)
    assert data.annotation(1).whole == (4, 3)


def huge_png():
    """The head of an image of 100,000 x 100,000 pixels."""
    body = b"IHDR" + (100_000).to_bytes(4, "big") * 2 + b"\x08\x02\x00\x00\x00"
    data = b"IDAT" + zlib.compress(b"\0" * 1000)
    chunks = [(len(c) - 4).to_bytes(4, "big") + c + zlib.crc32(c).to_bytes(4, "big") for c in (body, data)]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("x/none.jpg", r"index\.csv, line 2 \(x/none\.jpg\): there is no image"),
        ("../index.csv", "which leads out of the folder; refused"),
        ("/etc/passwd", "which leads out of the folder; refused"),
        ("x/\x1b[31m.jpg", r"x/\\x1b\[31m\.jpg"),
    ],
)
def test_what_is_wrong_with_an_image(four, name, text):
    write_index(four, [f"{name},train,8,8,4,4,,,4,"])
    data = Broden(four)
    with pytest.raises(DataError, match=text):
        data.image(0)
    assert data.annotation(0).whole == (4,)


@pytest.mark.parametrize(
    ("file", "old", "new", "text"),
    [
        ("index.csv", "x/1.jpg,val", "x/1.jpg", r"index\.csv, line 3 has 9 cells; expected 10, as the first row"),
        ("index.csv", "x/1.jpg,val", "x/1.jpg,val,", r"index\.csv, line 3 has 11 cells; expected 10"),
        (
            "index.csv",
            "val,8,8,4,4",
            "val,8,8,4,four",
            r'index\.csv, line 3 has the sh and sw "4, four"; expected height',
        ),
        ("index.csv", "val,8,8,4,4", "val,8,8,0,4", 'line 3 has the sh and sw "0, 4"'),
        ("index.csv", "val,8,8,4,4", "val,8,8,99999,99999", "masks, from 1 to 4096"),
        ("index.csv", "x/1.jpg", "", "line 3 names no image"),
        (
            "index.csv",
            "iw,sh",
            "iw,height",
            r'index\.csv has no column "sh"; its columns are image, split, ih, iw, height',
        ),
        ("index.csv", ",scene", ",scenes", 'has no column "scene"'),
        ("index.csv", ",part", ",object", 'has more than one column "object"'),
        ("label.csv", "2,two", "1,two", r"label\.csv, line 3 gives number 1 again; every label has its own"),
        ("label.csv", "2,two", "two,two", r'label\.csv, line 3 has the number "two"; expected one from 1 to 65535'),
        ("label.csv", "2,two", "0,two", 'has the number "0"'),
        ("label.csv", "2,two", "-2,two", 'has the number "-2"'),
        ("label.csv", "2,two", "²,two", 'has the number "²"'),
        (
            "label.csv",
            "2,two",
            "99999999999,two",
            'has the number "99999999999"',
        ),  # as many names would fill the memory
        ("label.csv", "number", "n\0umber", 'has no column "number"'),
        ("label.csv", "2,two", '2,"' + "two" * 50_000, r"cannot read .*label\.csv: field larger than field limit"),
        ("c_part.csv", "1,300", "1,301", r"c_part\.csv, line 2 names label 301, which label\.csv does not have"),
        ("c_part.csv", "4,1.5", "4,much", r'c_part\.csv, line 2 has the coverage "much"; expected a number, 0 or more'),
        ("c_part.csv", "4,1.5", "4,nan", 'has the coverage "nan"'),
        ("c_part.csv", "4,1.5", "4,-1", 'has the coverage "-1"'),
        ("c_part.csv", "coverage", "cover", 'has no column "coverage"'),
        ("category.csv", "part,", "object,", r'category\.csv, line 3 names the category "object" again'),
        ("category.csv", "part,", "parts,", r"cannot read .*c_parts\.csv"),
        ("category.csv", "part,", "/../../part,", "leads out of the folder; refused"),
    ],
)
def test_malformed_tables(four, file, old, new, text):
    content = (four / file).read_text()
    assert old in content
    (four / file).write_text(content.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(DataError, match=text) as caught:
        Broden(four)
    assert "\n" not in str(caught.value)


def test_what_is_missing_is_shown(four):
    with pytest.raises(DataError, match='broden has no category "colour"; did you mean "color"'):
        Broden(four, ["object", "colour"])
    with pytest.raises(DataError, match=r"name at least one category; .* has object, part, scene, color"):
        Broden(four, [])
    write_index(four, ["x/2.jpg,train,8,8,4,4,,,4,3"])
    with pytest.raises(DataError, match=r"no image in .*index\.csv has a label in part"):
        Broden(four, ["part"])
    with pytest.raises(DataError, match=r"holds no no\.csv\.\nExpected, as in broden1_224:"):
        Broden(four, index="no.csv")
    with pytest.raises(DataError, match=r"names '\.\./index\.csv', which leads out|holds no"):
        Broden(four, index="../index.csv")
    (four / "label.csv").unlink()
    with pytest.raises(DataError, match=r"holds no label\.csv\.\n(.|\n)*netdissect\.csail\.mit\.edu"):
        Broden(four)
    with pytest.raises(DataError, match=r"broden: there is no folder .*none\.\nExpected"):
        Broden(four / "none")
    with pytest.raises(DataError, match="broden is read from a folder; give root=FOLDER"):
        Broden()


def test_an_image_out_of_range(four):
    for index in (-1, 4):
        with pytest.raises(IndexError, match=f"broden has 4 images; there is no image {index}"):
            Broden(four).image(index)


def test_the_fingerprint_follows_the_content_and_not_the_place(four, tmp_path_factory):
    first = Broden(four).fingerprint()
    assert first == Broden(four).fingerprint()
    assert Broden(four, ["object", "color"]).fingerprint() != first
    copy = tmp_path_factory.mktemp("copy")
    for path in four.rglob("*.*"):
        (copy / path.relative_to(four)).parent.mkdir(parents=True, exist_ok=True)
        (copy / path.relative_to(four)).write_bytes(path.read_bytes())
    assert Broden(copy).fingerprint() == first
    labels = encoded(np.array([[2, 0, 0, 1]] + [[0] * 4] * 3))
    Image.fromarray(labels).save(copy / "images" / "x" / "3_object.png")
    assert Broden(copy).fingerprint() != first
    (copy / "images" / "x" / "3_object.png").unlink()
    assert Broden(copy).fingerprint() != first


def test_opening_reads_no_image(four):
    rows = list(csv.reader((four / "index.csv").read_text().splitlines()))[1:]
    write_index(four, [",".join(row) for row in rows * 500])
    for path in (four / "images" / "x").iterdir():
        path.unlink()
    assert len(Broden(four)) == 2000
