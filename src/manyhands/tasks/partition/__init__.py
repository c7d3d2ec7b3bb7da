"""Which samples each worker holds, and how what one holds differs from what the others hold.

Every sample goes to exactly one worker, and none is left without.
"""

# In the order in which they are listed to users: by label, by size, by feature, by group.
from manyhands.tasks.partition.base import PARTITIONS, Iid, Indices, Mixed, Partition, class_counts
from manyhands.tasks.partition.labels import Dirichlet, DirichletPerWorker, Labels, Shards
from manyhands.tasks.partition.sizes import Exponential, Linear, Portions, Quantity, Square

# isort: split
from manyhands.tasks.partition.features import FeatureSkew, Noise, Rotation, skewed
from manyhands.tasks.partition.groups import Groups
from manyhands.tasks.partition.held_out import share_test_set

__all__ = [
    "PARTITIONS",
    "Dirichlet",
    "DirichletPerWorker",
    "Exponential",
    "FeatureSkew",
    "Groups",
    "Iid",
    "Indices",
    "Labels",
    "Linear",
    "Mixed",
    "Noise",
    "Partition",
    "Portions",
    "Quantity",
    "Rotation",
    "Shards",
    "Square",
    "class_counts",
    "share_test_set",
    "skewed",
]
