"""The one error there is."""


class TemplateError(Exception):
    """A template that cannot be read, or not be rendered with what it was given."""
