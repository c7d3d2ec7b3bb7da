"""The data sets that manyhands knows, by name."""

from dataclasses import replace

from manyhands.tasks.datasets.card import Card, File

_TORONTO = "https://www.cs.toronto.edu/~kriz/"
_KRIZHEVSKY = "A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, University of Toronto, 2009"
_FASHION = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
_CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_CIFAR100 = tuple(
    """
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel
    can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur
    dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion
    lizard lobster man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree
    pear pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea
    seal shark shrew skunk skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table
    tank telephone television tiger tractor train trout tulip turtle wardrobe whale willow_tree wolf woman
    worm
    """.split()  # noqa: SIM905
)

MNIST = Card(
    name="mnist",
    title="MNIST handwritten digits",
    classes=tuple("0123456789"),
    input_shape=(1, 28, 28),
    train_size=60_000,
    test_size=10_000,
    mean=(0.1307,),
    std=(0.3081,),
    crop_padding=2,
    flip=False,
    source="http://yann.lecun.com/exdb/mnist/",
    licence="CC BY-SA 3.0",
    citation="Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, Gradient-Based Learning Applied to Document "
    "Recognition, Proceedings of the IEEE 86(11), 1998",
    train_files=(
        File("mnist/train-images-idx3-ubyte.gz", 9_912_422, "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
        File("mnist/train-labels-idx1-ubyte.gz", 28_881, "d53e105ee54ea40749a09fcbcd1e9432"),
    ),
    test_files=(
        File("mnist/t10k-images-idx3-ubyte.gz", 1_648_877, "9fb629c4189551a2d022fa330f9573f3"),
        File("mnist/t10k-labels-idx1-ubyte.gz", 4_542, "ec29112dd5afa0611ce80d1b7f02629c"),
    ),
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
)

MNIST_MINI = replace(
    MNIST,
    name="mnist-mini",
    title="MNIST mini: the first 6,000 + 1,000 images of MNIST",
    train_size=6_000,
    test_size=1_000,
    train_files=(
        File("mnist-mini/train-images-idx3-ubyte.gz", 969_511, "89985a04efd29c5d5c824aa0a965cf6e"),
        File("mnist-mini/train-labels-idx1-ubyte.gz", 3_027, "3f9a7010f4c0eb2c758dd00a4e01c80d"),
    ),
    test_files=(
        File("mnist-mini/t10k-images-idx3-ubyte.gz", 155_853, "7d1e65ac28cc2a8baaffb01bb3a4def6"),
        File("mnist-mini/t10k-labels-idx1-ubyte.gz", 526, "94eb77d0b7794d8a79b66cda22f8c7aa"),
    ),
    mirrors=(),
)

FASHION_MNIST = Card(
    name="fashion-mnist",
    title="Fashion-MNIST articles of clothing",
    classes=_FASHION,
    input_shape=(1, 28, 28),
    train_size=60_000,
    test_size=10_000,
    mean=(0.2860,),
    std=(0.3530,),
    crop_padding=2,
    flip=True,
    source="https://github.com/zalandoresearch/fashion-mnist",
    licence="MIT",
    citation="H. Xiao, K. Rasul, R. Vollgraf, Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine "
    "Learning Algorithms, arXiv:1708.07747, 2017",
    train_files=(
        File("fashion-mnist/train-images-idx3-ubyte.gz", 26_421_880, "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
        File("fashion-mnist/train-labels-idx1-ubyte.gz", 29_515, "25c81989df183df01b3e8a0aad5dffbe"),
    ),
    test_files=(
        File("fashion-mnist/t10k-images-idx3-ubyte.gz", 4_422_102, "bef4ecab320f06d8554ea6380940ec79"),
        File("fashion-mnist/t10k-labels-idx1-ubyte.gz", 5_148, "bb300cfdad3c16e7a12a480ee83cd310"),
    ),
    mirrors=(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
    ),
)

CIFAR10 = Card(
    name="cifar10",
    title="CIFAR-10 tiny photographs in 10 classes",
    classes=_CIFAR10,
    input_shape=(3, 32, 32),
    train_size=50_000,
    test_size=10_000,
    mean=(0.4914, 0.4822, 0.4465),
    std=(0.2470, 0.2435, 0.2616),
    crop_padding=4,
    flip=True,
    source=_TORONTO + "cifar.html",
    licence="none stated; its authors ask to be cited",
    citation=_KRIZHEVSKY,
    train_files=(
        File("cifar-10-batches-bin/data_batch_1.bin", 30_730_000, "5dd7e06a14cb22eb9f671a540d1b7c25"),
        File("cifar-10-batches-bin/data_batch_2.bin", 30_730_000, "5ea93a67294ea407fff1d09f752e9692"),
        File("cifar-10-batches-bin/data_batch_3.bin", 30_730_000, "942cd6a4bcdd0dd3c604fbe906cb4421"),
        File("cifar-10-batches-bin/data_batch_4.bin", 30_730_000, "ae636b3ba5c66a11e91e8cb52e771fcb"),
        File("cifar-10-batches-bin/data_batch_5.bin", 30_730_000, "53f37980c15c3d472c316c40844f3f0d"),
    ),
    test_files=(File("cifar-10-batches-bin/test_batch.bin", 30_730_000, "803d5f7f4d78ea53de84dbe85f74fb6d"),),
    label_bytes=1,
    mirrors=(_TORONTO,),
    archive=File("cifar-10-binary.tar.gz", 170_052_171, "c32a1d4ab5d03f1284b67883e8d87530"),
)

CIFAR100 = Card(
    name="cifar100",
    title="CIFAR-100 tiny photographs in 100 fine classes",
    classes=_CIFAR100,
    input_shape=(3, 32, 32),
    train_size=50_000,
    test_size=10_000,
    mean=(0.5071, 0.4865, 0.4409),
    std=(0.2673, 0.2564, 0.2762),
    crop_padding=4,
    flip=True,
    source=_TORONTO + "cifar.html",
    licence="none stated; its authors ask to be cited",
    citation=_KRIZHEVSKY,
    train_files=(File("cifar-100-binary/train.bin", 153_700_000, None),),
    test_files=(File("cifar-100-binary/test.bin", 30_740_000, None),),
    label_bytes=2,
    mirrors=(_TORONTO,),
    archive=File("cifar-100-binary.tar.gz", 168_513_733, "03b5dce01913d631647c71ecec9e9cb8"),
)

CARDS = {card.name: card for card in (MNIST_MINI, MNIST, FASHION_MNIST, CIFAR10, CIFAR100)}
