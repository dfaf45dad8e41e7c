"""ILSVRC-2012 as the published tar files, unpacked, or in the folders of Kaggle."""

import csv
import io
import os
import re

import numpy as np

from tinynet.data.archive import Archive, compressed_members
from tinynet.data.files import FileSplit
from tinynet.data.folder import Folder, join_classes, list_classes
from tinynet.data.pictures import DataError

TRAIN_TAR, VAL_TAR = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"
DEVKIT = "ILSVRC2012_devkit_t12"
KAGGLE = os.path.join("ILSVRC", "Data", "CLS-LOC")
CSV, VAL_TXT = "LOC_val_solution.csv", "val.txt"
SYNSETS = ("LOC_synset_mapping.txt", "synset_words.txt")  # lines of a wnid and words
GROUND_TRUTH, META = "ILSVRC2012_validation_ground_truth.txt", "meta.mat"
MAX_TEXT = 2**26  # bytes of a list of labels or classes; the largest one has 5 million
WNID = re.compile(r"n\d{8}")


class ImageNetSource:
    """train/WNID/*.JPEG or ILSVRC2012_img_train.tar; val/WNID/*.JPEG, val/ or the tar of val.

    If val has no folders for the classes, its labels come from LOC_val_solution.csv, from val.txt,
    or from the development kit, a folder or a .tar.gz. The classes are numbered in the order of
    their wnids, as is usual; the numbers in the development kit are others. A class has the words
    of its wnid as its name, if they are known.

    Args     path: as for find_imagenet; size: side of the square pictures, in pixels
    Raises   DataError, one line for the user
    """

    def __init__(self, path, size, quiet=False):
        self.name = os.path.basename(os.path.abspath(path))
        root, beside = find_imagenet(path)
        tree = _part(root, "train", TRAIN_TAR, quiet, inner=True)
        classes = list_classes(tree, "train", quiet)
        wnids = sorted(classes)
        if odd := [name for name in wnids if not WNID.fullmatch(name)]:
            raise DataError(f"{os.path.join(tree.path, 'train', odd[0])}: not a class of ImageNet, "
                            "whose folders have names like n01440764")
        self.train = FileSplit(tree, *join_classes(classes), size, quiet)
        tree = _part(root, "val", VAL_TAR, quiet)
        self.test = FileSplit(tree, *_validation(tree, wnids, beside, quiet), size, quiet)
        self.class_names = name_classes(wnids, _words(beside))


class ValidationSource:
    """The validation pictures of ILSVRC-2012 without those for training, to measure a network on.

    Args     path: as for find_validation; wnids: all classes, in the order of their labels
    Raises   DataError, one line for the user
    """

    def __init__(self, path, wnids, size, quiet=False):
        self.name = os.path.basename(os.path.abspath(path))
        root, at, beside = find_validation(path)
        tree = _part(root, at, VAL_TAR, quiet)
        if at_folders := tree.folders(at):
            wnids = at_folders
        self.test = FileSplit(tree, *_validation(tree, wnids, beside, quiet, at), size, quiet)
        self.class_names = list(wnids)


def find_validation(path):
    """Return where validation pictures lie without those for training, or None.

    Args     path: of a folder with val/WNID/*.JPEG, with val/ or the tar of val and their labels,
             with WNID/*.JPEG, or with the pictures themselves
    Returns  the folder, the name of the folder of pictures in it, and a list of the folders that
             may have labels
    """
    places = (os.path.join(path, KAGGLE), os.path.join(path, "Data", "CLS-LOC"), path)
    root = os.path.abspath(next((place for place in places if os.path.isdir(place)), path))
    if os.path.exists(os.path.join(root, "train")) or os.path.exists(os.path.join(root, TRAIN_TAR)):
        return None
    val, beside = os.path.join(root, "val"), [os.fspath(path), root, os.path.join(root, "val")]
    if os.path.isfile(os.path.join(root, VAL_TAR)) or _has_wnids(val) or _has_pictures(val):
        return root, "val", beside
    if _has_wnids(root) or _has_pictures(root):
        above, at = os.path.split(root)
        return above, at, [root, above]
    return None


def _has_pictures(folder):
    """Return whether a folder has pictures that are named as in the tar of val."""
    return any(name.startswith("ILSVRC2012_val_") for name in _listing(folder))


def find_imagenet(path):
    """Return the folder with the pictures, and a list of the folders that may have labels.

    Returns  None if `path` is something else
    Raises   DataError if `path` is only one of the tars
    """
    if os.path.basename(path) in (TRAIN_TAR, VAL_TAR):
        raise DataError(f"{path}: give the folder that holds it, together with {TRAIN_TAR}, "
                        f"{VAL_TAR} and {DEVKIT}.tar.gz")
    places = (os.path.join(path, KAGGLE), os.path.join(path, "Data", "CLS-LOC"), path)
    root = next((place for place in places if os.path.isdir(place)), path)
    tars = (name for name in _listing(os.path.join(root, "train"))
            if name.endswith(".tar") and WNID.fullmatch(name.removesuffix(".tar")))
    if tar := next(tars, None):
        raise DataError(f"{os.path.join(root, 'train', tar)}: unpack each of these files into a "
                        f"folder of its name; or give the folder that holds {TRAIN_TAR}")
    has_tars = any(os.path.isfile(os.path.join(root, name)) for name in (TRAIN_TAR, VAL_TAR))
    has_folders = (_has_wnids(os.path.join(root, "train"))
                   and not _has_wnids(os.path.join(root, "test")))
    if not (has_tars or has_folders):
        return None
    beside = [os.fspath(path), root, os.path.join(root, "val")]
    absolute = os.path.abspath(root)
    if absolute.endswith(os.sep + KAGGLE):
        beside.append(absolute.removesuffix(os.sep + KAGGLE))
    return root, list(dict.fromkeys(beside))


def _has_wnids(folder):
    """Return whether the first folder in a folder has the name of a class of ImageNet."""
    shown = (name for name in _listing(folder) if not name.startswith("."))
    folders = (name for name in shown if os.path.isdir(os.path.join(folder, name)))
    first = next(folders, "")
    return WNID.fullmatch(first) is not None


def _listing(folder):
    return os.listdir(folder) if os.path.isdir(folder) else []


def _part(root, name, tar, quiet, inner=False):
    """Return the tree that has train/ or val/, a Folder or an Archive."""
    tar, folder = os.path.join(root, tar), os.path.join(root, name)
    if os.path.isfile(tar) and os.path.isdir(folder):
        raise DataError(f"{root}: has both {name}/ and {os.path.basename(tar)}; move one of them "
                        "away")
    if os.path.isfile(tar):
        return Archive(tar, quiet, at=name, inner=inner)
    if os.path.isdir(folder):
        return Folder(root)
    raise DataError(f"{root}: has neither {name}/ nor {os.path.basename(tar)}")


# --------------------------------------------------------------- labels of the validation pictures

def _validation(tree, wnids, beside, quiet, at="val"):
    """Return the names and labels of the pictures in val."""
    where = os.path.join(tree.path, at) if isinstance(tree, Folder) else tree.path
    if tree.folders(at):
        classes = list_classes(tree, at, quiet)
        if odd := sorted(classes.keys() ^ set(wnids)):
            raise DataError(f"{where}: train and val have different classes; only one of them has "
                            f"{odd[0]!r}")
        return join_classes(classes)
    names = tree.pictures(at)
    if not names:
        raise DataError(f"{where}: no pictures; expected val/ILSVRC2012_val_00000001.JPEG or "
                        "val/n01440764/*.JPEG")
    labels, origin = _labels(beside, wnids)
    stems = [os.path.splitext(os.path.basename(name))[0] for name in names]
    for name, stem in zip(names, stems):
        if stem not in labels:
            raise DataError(f"{origin}: no label for {name}")
    if len(names) < len(labels):
        raise DataError(f"{where}: {len(names):,} pictures, but {origin} has labels for "
                        f"{len(labels):,}; some are missing")
    return names, [labels[stem] for stem in stems]


def _labels(beside, wnids):
    """Return {"ILSVRC2012_val_00000001": label}, and the path of the file that says so."""
    ranks = {wnid: rank for rank, wnid in enumerate(wnids)}
    if path := _find(beside, CSV):
        return _from_csv(path, ranks), path
    if path := _find(beside, VAL_TXT):
        return _from_val_txt(path, len(wnids)), path
    if path := _find_devkit(beside):
        return _from_devkit(path, ranks), path
    raise DataError(f"{beside[0]}: val has no folders for the classes, and there is none of {CSV}, "
                    f"{VAL_TXT}, {DEVKIT}/ and {DEVKIT}.tar.gz with the labels of its pictures")


def _from_csv(path, ranks):
    labels = {}
    for number, row in enumerate(csv.reader(io.StringIO(read_text(path))), 1):
        if row and row[0] == "ImageId":
            continue
        words = row[1].split() if len(row) == 2 else []
        if not words:
            raise DataError(f"{path}: line {number} is not a picture, a comma, a wnid and boxes")
        labels[row[0]] = _rank(words[0], ranks, path)
    return labels


def _from_val_txt(path, num_classes):
    labels = {}
    for number, line in enumerate(read_text(path).splitlines(), 1):
        words = line.split()
        if len(words) != 2 or not words[1].isdecimal() or int(words[1]) >= num_classes:
            raise DataError(f"{path}: line {number} is not a picture and a number from 0 to "
                            f"{num_classes - 1}, as in 'ILSVRC2012_val_00000001.JPEG 65'")
        labels[os.path.splitext(os.path.basename(words[0]))[0]] = int(words[1])
    return labels


def _from_devkit(path, ranks):
    """Return the labels. Line i has the id of picture i, which meta.mat translates to a wnid."""
    truth = _devkit_file(path, GROUND_TRUTH).decode("ascii", "replace").split()
    wnid_of = {number: wnid for number, wnid, _ in read_meta(path)}
    labels = {}
    for number, text in enumerate(truth, 1):
        if not text.isdecimal() or int(text) not in wnid_of:
            raise DataError(f"{path}: line {number} of {GROUND_TRUTH} is {text!r}, which is no "
                            f"class in {META}")
        labels[f"ILSVRC2012_val_{number:08}"] = _rank(wnid_of[int(text)], ranks, path)
    return labels


def _rank(wnid, ranks, path):
    if wnid not in ranks:
        raise DataError(f"{path}: {wnid} is not among the {len(ranks):,} classes of train")
    return ranks[wnid]


# ------------------------------------------------------------------------- the development kit

def read_meta(devkit):
    """Return (id, wnid, words) of each class in the meta.mat of a development kit.

    It also has the nodes above the classes in the hierarchy of WordNet, which are left out.

    Raises   DataError if it is damaged, or scipy is missing
    """
    content = _devkit_file(devkit, META)
    try:
        from scipy.io import loadmat
    except ImportError:
        raise DataError(f"{devkit}: to read its {META} scipy is needed: pip install -e "
                        f"'.[imagenet]'; or do without the devkit: {SYNSETS[0]} has the classes, "
                        f"{CSV} the labels of val") from None
    try:
        synsets = np.atleast_1d(loadmat(io.BytesIO(content), squeeze_me=True)["synsets"])
        rows = [(int(row["ILSVRC2012_ID"]), str(row["WNID"]), str(row["words"]))
                for row in synsets if int(row["num_children"]) == 0]
    except Exception as error:  # scipy raises anything for a damaged file
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"{devkit}: {META} cannot be read ({reason})") from None
    return rows


def _devkit_file(devkit, name):
    """Return the bytes of a file in the folder data/ of a development kit, or above it."""
    if os.path.isfile(devkit):
        members = compressed_members(devkit, lambda member: os.path.basename(member) == name,
                                     4 * MAX_TEXT)
        found = [content for _, content in members if content is not None]
        if found:
            return found[0]
    else:
        for path in (os.path.join(devkit, "data", name), os.path.join(devkit, name)):
            if os.path.isfile(path):
                return _bytes(path)
    raise DataError(f"{devkit}: there is no data/{name} in it")


def _find_devkit(beside):
    return _find(beside, DEVKIT, os.path.isdir) or _find(beside, f"{DEVKIT}.tar.gz")


# ---------------------------------------------------------------------------- words for the classes

def name_classes(wnids, words):
    """Return the names of classes: their words, with the wnid if two have the same ("crane")."""
    names = [words.get(wnid) or wnid for wnid in wnids]
    return [f"{name} ({wnid})" if names.count(name) > 1 else name
            for name, wnid in zip(names, wnids)]


def read_words(path):
    """Return {wnid: words} of a text file with a wnid and its words in each line."""
    pairs = (line.split(maxsplit=1) for line in read_text(path).splitlines())
    return {pair[0]: pair[1].strip() for pair in pairs if len(pair) == 2}


def _words(beside):
    for name in SYNSETS:
        if path := _find(beside, name):
            return read_words(path)
    if devkit := _find_devkit(beside):
        return {wnid: words for _, wnid, words in read_meta(devkit)}
    return {}


def _find(beside, name, exists=os.path.isfile):
    return next((path for folder in beside if exists(path := os.path.join(folder, name))), None)


def read_text(path):
    """Return the text of a file. Raises DataError, for a large file before memory is taken."""
    return _bytes(path).decode("utf-8", "replace")


def _bytes(path):
    try:
        if os.path.getsize(path) > MAX_TEXT:
            raise DataError(f"{path}: {os.path.getsize(path):,} bytes are more than {MAX_TEXT:,}")
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
