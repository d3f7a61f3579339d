#!/usr/bin/env bash
# The container, tested.
#   run.sh files     what stands in docker/, run by nobody: seconds
#   run.sh image     the image, built and run, alone and by Docker Compose: some minutes at first, then one
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
venv=${VENV:-$here/../../target/image-venv}
[ -x "$venv/bin/pip" ] || python3 -m venv "$venv"
"$venv/bin/pip" install -q --disable-pip-version-check -r "$here/requirements.txt"
case ${1:-image} in
  files) exec "$venv/bin/pytest" -q "$here/test_files.py" ;;
  image) ;;
  *) echo "run.sh files or run.sh image" >&2; exit 1 ;;
esac

status=0
# Mounts end with a namespace of their own, so that target/ can be removed; who may make none is told below.
apart=(unshare --mount --pid --fork --kill-child --mount-proc)
"${apart[@]}" true 2>/dev/null || apart=()
why=$("${apart[@]}" "$venv/bin/python" "$here/build.py" | tee /dev/stderr) || status=$?
if [ "$status" = 75 ]; then
  cat >&2 <<EOF

  ##################################################################
  #  SKIPPED: the image was neither built nor run on this machine. #
  ##################################################################
  ${why##*$'\n'}

EOF
  # Who must know says so: IMAGE_TEST=required.
  [ "${IMAGE_TEST:-}" != required ] || exit 1
  exit 0
fi
[ "$status" = 0 ] || exit "$status"
# In a network of its own: the ports of compose.yaml are free there, nothing can go out, and all that was started ends with it.
exec "${apart[@]}" unshare --net \
  "$venv/bin/pytest" -q "$here/test_image.py" "$here/test_compose.py"
