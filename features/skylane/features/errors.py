"""What can be wrong with views, their sources and the store. Each message names the view and the field."""


class FeatureError(Exception):
    """Base of all errors of feature views."""


class DefinitionError(FeatureError):
    """A definition cannot be used; the message says what to write instead."""


class SourceError(FeatureError):
    """A file does not hold what a view or a join needs."""


class StoreError(FeatureError):
    """The online store cannot answer: a view is not in it, or its file is not a store."""
