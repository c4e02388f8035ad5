"""Which class prices which request."""

import pytest

from osxfs_sim.model.operations import CLASS_OF, UNAWAITED, Operation, OperationClass

CARRIES_DATA_OR_SYNCS = {
    Operation.READ: OperationClass.READ,
    Operation.WRITE: OperationClass.WRITE,
    Operation.READDIR: OperationClass.DIRECTORY,
    Operation.READDIRPLUS: OperationClass.DIRECTORY,
    Operation.FSYNC: OperationClass.SYNC,
    Operation.FSYNCDIR: OperationClass.SYNC,
}


@pytest.mark.parametrize("operation", Operation)
def test_a_request_is_metadata_unless_it_carries_data_or_syncs(operation):
    expected = CARRIES_DATA_OR_SYNCS.get(operation, OperationClass.METADATA)
    assert operation.operation_class is expected
    assert CLASS_OF[operation] is expected


def test_operations_and_classes_index_tuples_without_gaps():
    assert list(Operation) == list(range(len(Operation)))
    assert list(OperationClass) == list(range(len(OperationClass)))
    assert len(CLASS_OF) == len(Operation)


def test_a_class_is_named_as_profiles_write_it():
    labels = [operation_class.label for operation_class in OperationClass]
    assert labels == ["metadata", "read", "write", "directory", "sync"]


def test_only_what_no_process_waits_for_is_unawaited():
    assert {Operation.FORGET, Operation.RELEASE, Operation.RELEASEDIR} == UNAWAITED
