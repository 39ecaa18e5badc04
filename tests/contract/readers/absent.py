"""Stand-ins for packages that a consumer imports and, on our way through it, does not use.

Every name in such a package is a class: it can be inherited from, used as a decorator or in an
annotation, and called. Nothing it gives can be mistaken for a number or a text.
"""

import importlib.abc
import importlib.machinery
import sys
import types


class Nothing(type):
    """The class of the stand-ins' names."""

    def __getattr__(cls, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return Nothing(name, (), {})

    def __call__(cls, *args, **kwargs):
        if cls.__bases__ != (object,):  # a class of the consumer that inherits from a stand-in
            return super().__call__(*args, **kwargs)
        as_decorator = len(args) == 1 and callable(args[0]) and not kwargs
        return args[0] if as_decorator else Nothing("nothing", (), {})

    def __getitem__(cls, _):
        return cls

    def __or__(cls, _):
        return cls

    __ror__ = __or__


class Module(types.ModuleType):
    """A stand-in, and every module in it."""

    __path__ = ()
    __version__ = "2.9.0"

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return Nothing(name, (), {})


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the stand-ins."""

    def __init__(self, names):
        self.names = names

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in self.names:
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec):
        return Module(spec.name)

    def exec_module(self, module):
        pass


def stand_in(*names):
    """From here on, these packages can be imported. Import what asks whether they exist before."""
    sys.meta_path.append(Finder(set(names)))
