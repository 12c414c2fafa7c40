"""Makes plain `pytest --nbval notebooks/` and `pytest --nbval-lax notebooks/` as strict as `course check`.

The rules are in course_utils/notebook/nbval_plugin.py; this file only loads them, once.
"""

PLUGIN = "course_utils.notebook.nbval_plugin"


def pytest_configure(config):
    if config.pluginmanager.has_plugin("nbval") and not config.pluginmanager.has_plugin(PLUGIN):
        config.pluginmanager.import_plugin(PLUGIN)
