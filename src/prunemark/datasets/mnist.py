"""MNIST and Fashion-MNIST: 60,000 and 10,000 grey images of 28x28 in IDX files."""

from pathlib import Path

from prunemark.datasets.files import DataFile, Source, read
from prunemark.datasets.idx import parse_labelled_images
from prunemark.datasets.in_memory import Dataset, Images, Labels, from_images

FASHION_MNIST = Source(
    dataset="fashion-mnist",
    files=(
        DataFile(
            name="train-images-idx3-ubyte.gz",
            sha256="3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            content_sha256="c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        ),
        DataFile(
            name="train-labels-idx1-ubyte.gz",
            sha256="a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            content_sha256="bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        ),
        DataFile(
            name="t10k-images-idx3-ubyte.gz",
            sha256="346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            content_sha256="5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        ),
        DataFile(
            name="t10k-labels-idx1-ubyte.gz",
            sha256="67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
            content_sha256="0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
    ),
    urls=(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
    ),
    # Debian's files were compressed anew; their content is the published one.
    system_folders=(Path("/usr/share/datasets/fashion-mnist"),),
    hint="On Debian and Ubuntu, `apt-get install dataset-fashion-mnist` puts them where they are found.",
)

MNIST = Source(
    dataset="mnist",
    files=(
        DataFile(
            name="train-images-idx3-ubyte.gz",
            sha256="440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            content_sha256="ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        ),
        DataFile(
            name="train-labels-idx1-ubyte.gz",
            sha256="3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            content_sha256="65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        ),
        DataFile(
            name="t10k-images-idx3-ubyte.gz",
            sha256="8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            content_sha256="0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        ),
        DataFile(
            name="t10k-labels-idx1-ubyte.gz",
            sha256="f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            content_sha256="ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
    ),
    urls=(
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
    ),
)

_CLOTHES = (
    "T-shirt/top",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)


def load_fashion_mnist(*, data_dir: str | Path | None = None) -> Dataset:
    """Fashion-MNIST: ten kinds of clothes.

    Reference: Xiao, Rasul & Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking machine
    learning algorithms", 2017, arXiv 1708.07747. Licence: MIT, Zalando SE.

    Raises:
        ValueError: a file is missing or is not the published one.
    """
    return load(FASHION_MNIST, class_names=_CLOTHES, data_dir=data_dir)


def load_mnist(*, data_dir: str | Path | None = None) -> Dataset:
    """MNIST: handwritten digits.

    Reference: LeCun, Bottou, Bengio & Haffner, "Gradient-based learning applied to document recognition",
    Proceedings of the IEEE 86(11), 1998.

    Raises:
        ValueError: a file is missing or is not the published one.
    """
    return load(MNIST, class_names=tuple("0123456789"), data_dir=data_dir)


def load(source: Source, *, class_names: tuple[str, ...], data_dir: str | Path | None = None) -> Dataset:
    """A data set of four IDX files: training images and labels, test images and labels, in this order.

    Raises:
        ValueError: a file is missing, is not the one whose checksums `source` gives, or is not sound IDX.
    """
    train_images, train_labels, test_images, test_labels = source.files

    def split(images: DataFile, labels: DataFile) -> tuple[Images, Labels]:
        return parse_labelled_images(
            read(source, images, data_dir=data_dir),
            read(source, labels, data_dir=data_dir),
            classes=len(class_names),
            origins=(images.name, labels.name),
        )

    return from_images(
        source.dataset,
        train=split(train_images, train_labels),
        test=split(test_images, test_labels),
        class_names=class_names,
    )
