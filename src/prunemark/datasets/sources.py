"""Published files of each data set, with their addresses and checksums. Nothing is read or imported here.

MD5 is what the publishers of CIFAR-10, CIFAR-100 and TinyImageNet give (TinyImageNet's, [V], is the one that its many
loaders agree on; its publisher gives none). SHA-256 is checked besides, because an MD5 can be forged.
"""

from pathlib import Path

from prunemark.datasets.files import DataFile, ImageFolder, Source

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

CIFAR_10 = Source(
    dataset="cifar-10",
    files=(
        DataFile(
            name="cifar-10-binary.tar.gz",
            sha256="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            md5="c32a1d4ab5d03f1284b67883e8d87530",
        ),
    ),
    urls=("https://www.cs.toronto.edu/~kriz/",),
    hint='It is the "binary version" of https://www.cs.toronto.edu/~kriz/cifar.html; the Python version is not read.',
)

CIFAR_100 = Source(
    dataset="cifar-100",
    files=(
        DataFile(
            name="cifar-100-binary.tar.gz",
            sha256="58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
            md5="03b5dce01913d631647c71ecec9e9cb8",
        ),
    ),
    urls=("https://www.cs.toronto.edu/~kriz/",),
    hint='It is the "binary version" of https://www.cs.toronto.edu/~kriz/cifar.html; the Python version is not read.',
)

TINY_IMAGENET = Source(
    dataset="tinyimagenet",
    files=(
        DataFile(
            name="tiny-imagenet-200.zip",
            sha256="6198c8ae015e2b3e007c7841da39ec069199b9aa3bfa943a462022fe5e43c821",
            md5="90528d7ca1a48142e341f4ef8d21d0de",
        ),
    ),
    urls=("http://cs231n.stanford.edu/",),
    folder=ImageFolder(
        name="tiny-imagenet-200", images={"train/*/images/*.JPEG": 100_000, "val/images/*.JPEG": 10_000}
    ),
    hint="The folder tiny-imagenet-200 that it unpacks to serves as well.",
)

IMAGENET = Source(
    dataset="imagenet",
    files=(),
    urls=(),
    folder=ImageFolder(name="", images={"train/*/*.JPEG": 1_281_167, "val/*/*.JPEG": 50_000}),
    hint=(
        "ImageNet (ILSVRC 2012) is available after registration at https://www.image-net.org. Unpack "
        "ILSVRC2012_img_train.tar (MD5 1d675b47d978889d74fa0da5fadfb00e), with the 1,000 archives in it, "
        "to train/WNID/*.JPEG, and ILSVRC2012_img_val.tar (MD5 29b22e2961454d5413ddabcf34fc5622), "
        "sorted by class, to val/WNID/*.JPEG."
    ),
)

SOURCES: dict[str, Source] = {
    source.dataset: source for source in (FASHION_MNIST, MNIST, CIFAR_10, CIFAR_100, TINY_IMAGENET, IMAGENET)
}
