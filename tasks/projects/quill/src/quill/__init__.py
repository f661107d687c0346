"""Small templates: values, filters, conditions and loops."""

from quill.errors import TemplateError
from quill.template import Template

__all__ = ["Template", "TemplateError"]
