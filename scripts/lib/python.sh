# shellcheck shell=bash
# Python environments, apart from anything else Python on the host. Needs common.sh.

# Nobody's settings may leak in: not the caller's interpreter, paths or virtual environment.
python_clean() { env -u PYTHONPATH -u PYTHONHOME -u VIRTUAL_ENV -u __PYVENV_LAUNCHER__ PYTHONNOUSERSITE=1 "$@"; }

# content_hash DIRECTORY NAME…: of the names and contents of the files below, so that a checkout's times mean nothing.
content_hash() {
    local directory=$1
    shift
    (cd "$directory" && find "$@" -type f ! -name '*.pyc' -print0 | sort -z | xargs -0 sha256sum | sha256sum | cut -d ' ' -f 1)
}

# make_venv DIRECTORY: an empty environment of the system's interpreter, unless it is there and still of that version.
make_venv() {
    local directory=$1
    if [[ $("$directory/bin/python" -V 2>/dev/null) != "$(/usr/bin/python3 -V)" ]] ||
        ! "$directory/bin/python" -m pip --version >/dev/null 2>&1; then
        logged "creating $directory" python_clean /usr/bin/python3 -m venv --clear "$directory"
    fi
}

# pip_install VENV ARGUMENT…
pip_install() {
    local venv=$1
    shift
    python_clean "$venv/bin/python" -m pip install --no-input --disable-pip-version-check --quiet "$@"
}

# copy_source REPOSITORY DIRECTORY: what is needed to install; building in the repository would leave files in it.
copy_source() {
    mkdir -p "$2"
    (cd "$1" && tar -c --exclude=__pycache__ pyproject.toml README.md LICENSE agent ecsctl) | tar -x -C "$2"
}
