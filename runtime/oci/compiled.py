"""Compiled from runtime/oci/schema by build-aux/compile_schema.py; do not edit. See runtime/oci/validate.py."""

from __future__ import annotations
import re
from collections.abc import Callable
from typing import Any

STR = {str}
C0 = re.compile("^1\\.[0-9]+\\.[0-9]+([-+].*)?$").search
C1 = re.compile("^RLIMIT_[A-Z]+$").search
C2 = frozenset(
    (
        "SCHED_OTHER",
        "SCHED_FIFO",
        "SCHED_RR",
        "SCHED_BATCH",
        "SCHED_ISO",
        "SCHED_IDLE",
        "SCHED_DEADLINE",
    )
)
C3 = frozenset(
    (
        "IOPRIO_CLASS_RT",
        "IOPRIO_CLASS_BE",
        "IOPRIO_CLASS_IDLE",
    )
)
C4 = frozenset(
    (
        "mount",
        "pid",
        "network",
        "uts",
        "ipc",
        "user",
        "cgroup",
        "time",
    )
)
C5 = frozenset(
    (
        "c",
        "b",
        "u",
        "p",
    )
)
C6 = frozenset(
    (
        "c",
        "b",
        "a",
    )
)
C7 = re.compile("^[rwm]{0,3}$").search
C8 = re.compile("^[1-9][0-9]*[KMG]B$").search
C9 = frozenset(
    (
        "SCMP_ACT_KILL",
        "SCMP_ACT_KILL_PROCESS",
        "SCMP_ACT_KILL_THREAD",
        "SCMP_ACT_TRAP",
        "SCMP_ACT_ERRNO",
        "SCMP_ACT_TRACE",
        "SCMP_ACT_ALLOW",
        "SCMP_ACT_LOG",
        "SCMP_ACT_NOTIFY",
    )
)
C10 = re.compile("^SCMP_ARCH_[A-Z0-9_]+$").search
C11 = frozenset(
    (
        "SCMP_CMP_NE",
        "SCMP_CMP_LT",
        "SCMP_CMP_LE",
        "SCMP_CMP_EQ",
        "SCMP_CMP_GE",
        "SCMP_CMP_GT",
        "SCMP_CMP_MASKED_EQ",
    )
)
C12 = frozenset(
    (
        "",
        "shared",
        "slave",
        "private",
        "unbindable",
        "rshared",
        "rslave",
        "rprivate",
        "runbindable",
    )
)
C13 = frozenset(
    (
        "LINUX",
        "LINUX32",
    )
)
C14 = re.compile("^MPOL_[A-Z_]+$").search
C15 = frozenset(
    (
        "new",
        "inherit",
    )
)
C16 = frozenset(
    (
        "new",
        "inherit",
        "disable",
    )
)
C17 = frozenset(
    (
        "creating",
        "created",
        "running",
        "paused",
        "stopped",
    )
)


def is_config(x: Any) -> bool:
    return bool(type(x) is dict and _members0(x))


def _item1(x: Any) -> bool:
    return bool(type(x) is str and C0(x))


def _process(x: Any) -> bool:
    return bool(type(x) is dict and _members2(x))


def _item3(x: Any) -> bool:
    return bool(type(x) is bool)


def _item4(x: Any) -> bool:
    return bool(type(x) is dict and _members5(x))


def _uint16(x: Any) -> bool:
    return bool(type(x) is int and 0 <= x <= 65535)


def _members5(o: dict[str, Any]) -> bool:
    if not ("height" in o and "width" in o):
        return False
    if not (_uint16(o["height"])):
        return False
    if not (_uint16(o["width"])):
        return False
    return True


def _item6(x: Any) -> bool:
    return bool(type(x) is dict and _members7(x))


def _id(x: Any) -> bool:
    return bool(type(x) is int and 0 <= x <= 4294967294)


def _item8(x: Any) -> bool:
    return bool(type(x) is int and 0 <= x <= 511)


def _item9(x: Any) -> bool:
    return bool(type(x) is list and all(map(_id, x)))


def _item10(x: Any) -> bool:
    return bool(type(x) is str)


def _members7(o: dict[str, Any]) -> bool:
    for key in o.keys() & _MEMBERS7_TABLE.keys():
        if not _MEMBERS7_TABLE[key](o[key]):
            return False
    return True


def _strings(x: Any) -> bool:
    return bool(type(x) is list and not ({*map(type, x)} - STR))


def _path(x: Any) -> bool:
    return bool(type(x) is str and len(x) >= 1 and len(x) <= 4096)


def _item11(x: Any) -> bool:
    return bool(type(x) is dict and _members12(x))


def _capabilities(x: Any) -> bool:
    return bool(type(x) is list and not ({*map(type, x)} - STR))


def _members12(o: dict[str, Any]) -> bool:
    for key in o.keys() & _MEMBERS12_TABLE.keys():
        if not _MEMBERS12_TABLE[key](o[key]):
            return False
    return True


def _item13(x: Any) -> bool:
    return bool(type(x) is list and all(map(_item14, x)))


def _item14(x: Any) -> bool:
    return bool(type(x) is dict and _members15(x))


def _uint64(x: Any) -> bool:
    return bool(type(x) is int and 0 <= x <= 18446744073709551615)


def _members15(o: dict[str, Any]) -> bool:
    if not ("type" in o and "soft" in o and "hard" in o):
        return False
    if not (type(o["type"]) is str and C1(o["type"])):
        return False
    if not (_uint64(o["soft"])):
        return False
    if not (_uint64(o["hard"])):
        return False
    return True


def _item16(x: Any) -> bool:
    return bool(type(x) is int and -1000 <= x <= 1000)


def _item17(x: Any) -> bool:
    return bool(type(x) is dict and _members18(x))


def _item19(x: Any) -> bool:
    return bool(type(x) is str and x in C2)


def _item20(x: Any) -> bool:
    return bool(type(x) is int and -20 <= x <= 19)


def _item21(x: Any) -> bool:
    return bool(type(x) is int and 0 <= x <= 99)


def _members18(o: dict[str, Any]) -> bool:
    if not ("policy" in o):
        return False
    for key in o.keys() & _MEMBERS18_TABLE.keys():
        if not _MEMBERS18_TABLE[key](o[key]):
            return False
    return True


def _item22(x: Any) -> bool:
    return bool(type(x) is dict and _members23(x))


def _members23(o: dict[str, Any]) -> bool:
    if not ("class" in o):
        return False
    if not (type(o["class"]) is str and o["class"] in C3):
        return False
    if "priority" in o and not (type(o["priority"]) is int and 0 <= o["priority"] <= 7):
        return False
    return True


def _item24(x: Any) -> bool:
    return bool(type(x) is dict and _members25(x))


def _members25(o: dict[str, Any]) -> bool:
    if "initial" in o and not (type(o["initial"]) is str):
        return False
    if "final" in o and not (type(o["final"]) is str):
        return False
    return True


def _members2(o: dict[str, Any]) -> bool:
    if not ("cwd" in o):
        return False
    for key in o.keys() & _MEMBERS2_TABLE.keys():
        if not _MEMBERS2_TABLE[key](o[key]):
            return False
    return True


def _item26(x: Any) -> bool:
    return bool(type(x) is dict and _members27(x))


def _members27(o: dict[str, Any]) -> bool:
    if not ("path" in o):
        return False
    if not (_path(o["path"])):
        return False
    if "readonly" in o and not (type(o["readonly"]) is bool):
        return False
    return True


def _item28(x: Any) -> bool:
    return bool(type(x) is list and all(map(_mount, x)))


def _mount(x: Any) -> bool:
    return bool(type(x) is dict and _members29(x))


def _idMappings(x: Any) -> bool:
    return bool(type(x) is list and all(map(_idMapping, x)))


def _idMapping(x: Any) -> bool:
    return bool(type(x) is dict and _members30(x))


def _members30(o: dict[str, Any]) -> bool:
    if not ("containerID" in o and "hostID" in o and "size" in o):
        return False
    if not (_id(o["containerID"])):
        return False
    if not (_id(o["hostID"])):
        return False
    if not (type(o["size"]) is int and 1 <= o["size"] <= 4294967295):
        return False
    return True


def _members29(o: dict[str, Any]) -> bool:
    if not ("destination" in o):
        return False
    for key in o.keys() & _MEMBERS29_TABLE.keys():
        if not _MEMBERS29_TABLE[key](o[key]):
            return False
    return True


def _item31(x: Any) -> bool:
    return bool(type(x) is dict and _members32(x))


def _hooks(x: Any) -> bool:
    return bool(type(x) is list and all(map(_hook, x)))


def _hook(x: Any) -> bool:
    return bool(type(x) is dict and _members33(x))


def _members33(o: dict[str, Any]) -> bool:
    if not ("path" in o):
        return False
    if not (_path(o["path"])):
        return False
    if "args" in o and not (_strings(o["args"])):
        return False
    if "env" in o and not (_strings(o["env"])):
        return False
    if "timeout" in o and not (type(o["timeout"]) is int and 1 <= o["timeout"] <= 2147483647):
        return False
    return True


def _members32(o: dict[str, Any]) -> bool:
    for key in o.keys() & _MEMBERS32_TABLE.keys():
        if not _MEMBERS32_TABLE[key](o[key]):
            return False
    return True


def _stringMap(x: Any) -> bool:
    return bool(type(x) is dict and not ({*map(type, x.values())} - STR))


def _linux(x: Any) -> bool:
    return bool(type(x) is dict and _members34(x))


def _item35(x: Any) -> bool:
    return bool(type(x) is list and all(map(_namespace, x)))


def _namespace(x: Any) -> bool:
    return bool(type(x) is dict and _members36(x))


def _members36(o: dict[str, Any]) -> bool:
    if not ("type" in o):
        return False
    if not (type(o["type"]) is str and o["type"] in C4):
        return False
    if "path" in o and not (type(o["path"]) is str):
        return False
    return True


def _item37(x: Any) -> bool:
    return bool(type(x) is dict and _members38(x))


def _clock(x: Any) -> bool:
    return bool(type(x) is dict and _members39(x))


def _int64(x: Any) -> bool:
    return bool(type(x) is int and -9223372036854775808 <= x <= 9223372036854775807)


def _members39(o: dict[str, Any]) -> bool:
    if "secs" in o and not (_int64(o["secs"])):
        return False
    if "nanosecs" in o and not (type(o["nanosecs"]) is int and 0 <= o["nanosecs"] <= 999999999):
        return False
    return True


def _members38(o: dict[str, Any]) -> bool:
    if "boottime" in o and not (_clock(o["boottime"])):
        return False
    if "monotonic" in o and not (_clock(o["monotonic"])):
        return False
    return True


def _item40(x: Any) -> bool:
    return bool(type(x) is list and all(map(_device, x)))


def _device(x: Any) -> bool:
    return bool(type(x) is dict and _members41(x))


def _item42(x: Any) -> bool:
    return bool(type(x) is str and x in C5)


def _deviceNumber(x: Any) -> bool:
    return bool(_int64(x))


def _members41(o: dict[str, Any]) -> bool:
    if not ("type" in o and "path" in o):
        return False
    for key in o.keys() & _MEMBERS41_TABLE.keys():
        if not _MEMBERS41_TABLE[key](o[key]):
            return False
    return True


def _item43(x: Any) -> bool:
    return bool(type(x) is dict and all(map(_item44, x.values())))


def _item44(x: Any) -> bool:
    return bool(type(x) is dict and _members45(x))


def _members45(o: dict[str, Any]) -> bool:
    if "name" in o and not (type(o["name"]) is str and len(o["name"]) >= 1 and len(o["name"]) <= 15):
        return False
    return True


def _resources(x: Any) -> bool:
    return bool(type(x) is dict and _members46(x))


def _item47(x: Any) -> bool:
    return bool(type(x) is list and all(map(_item48, x)))


def _item48(x: Any) -> bool:
    return bool(type(x) is dict and _members49(x))


def _item50(x: Any) -> bool:
    return bool(type(x) is str and x in C6)


def _item51(x: Any) -> bool:
    return bool(type(x) is str and C7(x))


def _members49(o: dict[str, Any]) -> bool:
    if not ("allow" in o):
        return False
    for key in o.keys() & _MEMBERS49_TABLE.keys():
        if not _MEMBERS49_TABLE[key](o[key]):
            return False
    return True


def _item52(x: Any) -> bool:
    return bool(type(x) is dict and _members53(x))


def _members53(o: dict[str, Any]) -> bool:
    if "limit" in o and not (_int64(o["limit"])):
        return False
    return True


def _item54(x: Any) -> bool:
    return bool(type(x) is dict and _members55(x))


def _item56(x: Any) -> bool:
    return bool(type(x) is list and all(map(_item57, x)))


def _item57(x: Any) -> bool:
    return bool(type(x) is dict and _members58(x))


def _members58(o: dict[str, Any]) -> bool:
    if not ("major" in o and "minor" in o):
        return False
    if not (_deviceNumber(o["major"])):
        return False
    if not (_deviceNumber(o["minor"])):
        return False
    if "weight" in o and not (_uint16(o["weight"])):
        return False
    if "leafWeight" in o and not (_uint16(o["leafWeight"])):
        return False
    return True


def _throttle(x: Any) -> bool:
    return bool(type(x) is list and all(map(_item59, x)))


def _item59(x: Any) -> bool:
    return bool(type(x) is dict and _members60(x))


def _members60(o: dict[str, Any]) -> bool:
    if not ("major" in o and "minor" in o and "rate" in o):
        return False
    if not (_deviceNumber(o["major"])):
        return False
    if not (_deviceNumber(o["minor"])):
        return False
    if not (_uint64(o["rate"])):
        return False
    return True


def _members55(o: dict[str, Any]) -> bool:
    for key in o.keys() & _MEMBERS55_TABLE.keys():
        if not _MEMBERS55_TABLE[key](o[key]):
            return False
    return True


def _item61(x: Any) -> bool:
    return bool(type(x) is dict and _members62(x))


def _members62(o: dict[str, Any]) -> bool:
    for key in o.keys() & _MEMBERS62_TABLE.keys():
        if not _MEMBERS62_TABLE[key](o[key]):
            return False
    return True


def _item63(x: Any) -> bool:
    return bool(type(x) is list and all(map(_item64, x)))


def _item64(x: Any) -> bool:
    return bool(type(x) is dict and _members65(x))


def _members65(o: dict[str, Any]) -> bool:
    if not ("pageSize" in o and "limit" in o):
        return False
    if not (type(o["pageSize"]) is str and C8(o["pageSize"])):
        return False
    if not (_uint64(o["limit"])):
        return False
    return True


def _item66(x: Any) -> bool:
    return bool(type(x) is dict and _members67(x))


def _members67(o: dict[str, Any]) -> bool:
    for key in o.keys() & _MEMBERS67_TABLE.keys():
        if not _MEMBERS67_TABLE[key](o[key]):
            return False
    return True


def _item68(x: Any) -> bool:
    return bool(type(x) is dict and _members69(x))


def _uint32(x: Any) -> bool:
    return bool(type(x) is int and 0 <= x <= 4294967295)


def _item70(x: Any) -> bool:
    return bool(type(x) is dict and _members71(x))


def _members71(o: dict[str, Any]) -> bool:
    if not ("name" in o and "priority" in o):
        return False
    if not (type(o["name"]) is str):
        return False
    if not (_uint32(o["priority"])):
        return False
    return True


def _members69(o: dict[str, Any]) -> bool:
    if "classID" in o and not (_uint32(o["classID"])):
        return False
    if "priorities" in o and not (type(o["priorities"]) is list and all(map(_item70, o["priorities"]))):
        return False
    return True


def _item72(x: Any) -> bool:
    return bool(type(x) is dict and all(map(_item73, x.values())))


def _item73(x: Any) -> bool:
    return bool(type(x) is dict and _members74(x))


def _members74(o: dict[str, Any]) -> bool:
    if "hcaHandles" in o and not (_uint32(o["hcaHandles"])):
        return False
    if "hcaObjects" in o and not (_uint32(o["hcaObjects"])):
        return False
    return True


def _members46(o: dict[str, Any]) -> bool:
    for key in o.keys() & _MEMBERS46_TABLE.keys():
        if not _MEMBERS46_TABLE[key](o[key]):
            return False
    return True


def _item75(x: Any) -> bool:
    return bool(type(x) is dict and _members76(x))


def _members76(o: dict[str, Any]) -> bool:
    for key in o.keys() & _MEMBERS76_TABLE.keys():
        if not _MEMBERS76_TABLE[key](o[key]):
            return False
    return True


def _seccomp(x: Any) -> bool:
    return bool(type(x) is dict and _members77(x))


def _seccompAction(x: Any) -> bool:
    return bool(type(x) is str and x in C9)


def _item78(x: Any) -> bool:
    return bool(type(x) is list and all(map(_item79, x)))


def _item79(x: Any) -> bool:
    return bool(type(x) is str and C10(x))


def _item80(x: Any) -> bool:
    return bool(type(x) is list and all(map(_item81, x)))


def _item81(x: Any) -> bool:
    return bool(type(x) is dict and _members82(x))


def _item83(x: Any) -> bool:
    return bool(type(x) is dict and _members84(x))


def _members84(o: dict[str, Any]) -> bool:
    if not ("index" in o and "value" in o and "op" in o):
        return False
    if not (type(o["index"]) is int and 0 <= o["index"] <= 5):
        return False
    if not (_uint64(o["value"])):
        return False
    if "valueTwo" in o and not (_uint64(o["valueTwo"])):
        return False
    if not (type(o["op"]) is str and o["op"] in C11):
        return False
    return True


def _members82(o: dict[str, Any]) -> bool:
    if not ("names" in o and "action" in o):
        return False
    if not (type(o["names"]) is list and len(o["names"]) >= 1 and not ({*map(type, o["names"])} - STR)):
        return False
    if not (_seccompAction(o["action"])):
        return False
    if "errnoRet" in o and not (_uint32(o["errnoRet"])):
        return False
    if "args" in o and not (type(o["args"]) is list and all(map(_item83, o["args"]))):
        return False
    return True


def _members77(o: dict[str, Any]) -> bool:
    if not ("defaultAction" in o):
        return False
    for key in o.keys() & _MEMBERS77_TABLE.keys():
        if not _MEMBERS77_TABLE[key](o[key]):
            return False
    return True


def _item85(x: Any) -> bool:
    return bool(type(x) is str and x in C12)


def _item86(x: Any) -> bool:
    return bool(type(x) is dict and _members87(x))


def _members87(o: dict[str, Any]) -> bool:
    if not ("domain" in o):
        return False
    if not (type(o["domain"]) is str and o["domain"] in C13):
        return False
    if "flags" in o and not (_strings(o["flags"])):
        return False
    return True


def _item88(x: Any) -> bool:
    return bool(type(x) is dict and _members89(x))


def _members89(o: dict[str, Any]) -> bool:
    if not ("mode" in o):
        return False
    if not (type(o["mode"]) is str and C14(o["mode"])):
        return False
    if "nodes" in o and not (type(o["nodes"]) is str):
        return False
    if "flags" in o and not (_strings(o["flags"])):
        return False
    return True


def _members34(o: dict[str, Any]) -> bool:
    for key in o.keys() & _MEMBERS34_TABLE.keys():
        if not _MEMBERS34_TABLE[key](o[key]):
            return False
    return True


def _item90(x: Any) -> bool:
    return bool(type(x) is dict and _members91(x))


def _item92(x: Any) -> bool:
    return bool(type(x) is dict and _members93(x))


def _members93(o: dict[str, Any]) -> bool:
    if not ("path" in o):
        return False
    if not (type(o["path"]) is str):
        return False
    if "mode" in o and not (_uint32(o["mode"])):
        return False
    return True


def _sharingNoDisable(x: Any) -> bool:
    return bool(type(x) is str and x in C15)


def _sharing(x: Any) -> bool:
    return bool(type(x) is str and x in C16)


def _item95(x: Any) -> bool:
    return bool(type(x) is int and 0 <= x <= 255)


def _item96(x: Any) -> bool:
    return bool(type(x) is dict and _members97(x))


def _item98(x: Any) -> bool:
    return bool(type(x) is list and not ({*map(type, x)} - STR))


def _members97(o: dict[str, Any]) -> bool:
    for key in o.keys() & _MEMBERS97_TABLE.keys():
        if not _MEMBERS97_TABLE[key](o[key]):
            return False
    return True


def _members94(o: dict[str, Any]) -> bool:
    for key in o.keys() & _MEMBERS94_TABLE.keys():
        if not _MEMBERS94_TABLE[key](o[key]):
            return False
    return True


def _members91(o: dict[str, Any]) -> bool:
    if "devices" in o and not (type(o["devices"]) is list and all(map(_item92, o["devices"]))):
        return False
    if "jail" in o and not (type(o["jail"]) is dict and _members94(o["jail"])):
        return False
    return True


def _members0(o: dict[str, Any]) -> bool:
    if not ("ociVersion" in o):
        return False
    for key in o.keys() & _MEMBERS0_TABLE.keys():
        if not _MEMBERS0_TABLE[key](o[key]):
            return False
    return True


def is_features(x: Any) -> bool:
    return bool(type(x) is dict and _members99(x))


def _item100(x: Any) -> bool:
    return bool(type(x) is dict and _members101(x))


def _item102(x: Any) -> bool:
    return bool(type(x) is dict and _members103(x))


def _members103(o: dict[str, Any]) -> bool:
    for key in o.keys() & _MEMBERS103_TABLE.keys():
        if not _MEMBERS103_TABLE[key](o[key]):
            return False
    return True


def _item104(x: Any) -> bool:
    return bool(type(x) is dict and _members105(x))


def _members105(o: dict[str, Any]) -> bool:
    for key in o.keys() & _MEMBERS105_TABLE.keys():
        if not _MEMBERS105_TABLE[key](o[key]):
            return False
    return True


def _item106(x: Any) -> bool:
    return bool(type(x) is dict and _members107(x))


def _members107(o: dict[str, Any]) -> bool:
    if "enabled" in o and not (type(o["enabled"]) is bool):
        return False
    return True


def _item108(x: Any) -> bool:
    return bool(type(x) is dict and _members109(x))


def _members109(o: dict[str, Any]) -> bool:
    if "enabled" in o and not (type(o["enabled"]) is bool):
        return False
    if "schemata" in o and not (type(o["schemata"]) is bool):
        return False
    if "monitoring" in o and not (type(o["monitoring"]) is bool):
        return False
    return True


def _item110(x: Any) -> bool:
    return bool(type(x) is dict and _members111(x))


def _members111(o: dict[str, Any]) -> bool:
    if "idmap" in o and not (type(o["idmap"]) is dict and _members107(o["idmap"])):
        return False
    return True


def _item112(x: Any) -> bool:
    return bool(type(x) is dict and _members113(x))


def _members113(o: dict[str, Any]) -> bool:
    if "modes" in o and not (_strings(o["modes"])):
        return False
    if "flags" in o and not (_strings(o["flags"])):
        return False
    return True


def _members101(o: dict[str, Any]) -> bool:
    for key in o.keys() & _MEMBERS101_TABLE.keys():
        if not _MEMBERS101_TABLE[key](o[key]):
            return False
    return True


def _members99(o: dict[str, Any]) -> bool:
    if not ("ociVersionMin" in o and "ociVersionMax" in o):
        return False
    for key in o.keys() & _MEMBERS99_TABLE.keys():
        if not _MEMBERS99_TABLE[key](o[key]):
            return False
    return True


def is_process(x: Any) -> bool:
    return bool(_process(x))


def is_resources(x: Any) -> bool:
    return bool(_resources(x))


def is_state(x: Any) -> bool:
    return bool(type(x) is dict and _members114(x))


def _item115(x: Any) -> bool:
    return bool(type(x) is str and len(x) >= 1)


def _item116(x: Any) -> bool:
    return bool(type(x) is str and x in C17)


def _item117(x: Any) -> bool:
    return bool(type(x) is int and 0 <= x <= 4194304)


def _members114(o: dict[str, Any]) -> bool:
    if not ("ociVersion" in o and "id" in o and "status" in o and "bundle" in o):
        return False
    for key in o.keys() & _MEMBERS114_TABLE.keys():
        if not _MEMBERS114_TABLE[key](o[key]):
            return False
    return True


_MEMBERS7_TABLE: dict[str, Callable[[Any], bool]] = {
    "uid": _id,
    "gid": _id,
    "umask": _item8,
    "additionalGids": _item9,
    "username": _item10,
}
_MEMBERS12_TABLE: dict[str, Callable[[Any], bool]] = {
    "bounding": _capabilities,
    "effective": _capabilities,
    "permitted": _capabilities,
    "inheritable": _capabilities,
    "ambient": _capabilities,
}
_MEMBERS18_TABLE: dict[str, Callable[[Any], bool]] = {
    "policy": _item19,
    "nice": _item20,
    "priority": _item21,
    "flags": _strings,
    "runtime": _uint64,
    "deadline": _uint64,
    "period": _uint64,
}
_MEMBERS2_TABLE: dict[str, Callable[[Any], bool]] = {
    "terminal": _item3,
    "consoleSize": _item4,
    "user": _item6,
    "args": _strings,
    "commandLine": _item10,
    "env": _strings,
    "cwd": _path,
    "capabilities": _item11,
    "rlimits": _item13,
    "noNewPrivileges": _item3,
    "apparmorProfile": _item10,
    "selinuxLabel": _item10,
    "oomScoreAdj": _item16,
    "scheduler": _item17,
    "ioPriority": _item22,
    "execCPUAffinity": _item24,
}
_MEMBERS29_TABLE: dict[str, Callable[[Any], bool]] = {
    "destination": _path,
    "type": _item10,
    "source": _item10,
    "options": _strings,
    "uidMappings": _idMappings,
    "gidMappings": _idMappings,
}
_MEMBERS32_TABLE: dict[str, Callable[[Any], bool]] = {
    "prestart": _hooks,
    "createRuntime": _hooks,
    "createContainer": _hooks,
    "startContainer": _hooks,
    "poststart": _hooks,
    "poststop": _hooks,
}
_MEMBERS41_TABLE: dict[str, Callable[[Any], bool]] = {
    "type": _item42,
    "path": _path,
    "major": _deviceNumber,
    "minor": _deviceNumber,
    "fileMode": _id,
    "uid": _id,
    "gid": _id,
}
_MEMBERS49_TABLE: dict[str, Callable[[Any], bool]] = {
    "allow": _item3,
    "type": _item50,
    "major": _int64,
    "minor": _int64,
    "access": _item51,
}
_MEMBERS55_TABLE: dict[str, Callable[[Any], bool]] = {
    "weight": _uint16,
    "leafWeight": _uint16,
    "weightDevice": _item56,
    "throttleReadBpsDevice": _throttle,
    "throttleWriteBpsDevice": _throttle,
    "throttleReadIOPSDevice": _throttle,
    "throttleWriteIOPSDevice": _throttle,
}
_MEMBERS62_TABLE: dict[str, Callable[[Any], bool]] = {
    "cpus": _item10,
    "mems": _item10,
    "period": _uint64,
    "quota": _int64,
    "burst": _uint64,
    "realtimePeriod": _uint64,
    "realtimeRuntime": _int64,
    "shares": _uint64,
    "idle": _int64,
}
_MEMBERS67_TABLE: dict[str, Callable[[Any], bool]] = {
    "kernel": _int64,
    "kernelTCP": _int64,
    "limit": _int64,
    "reservation": _int64,
    "swap": _int64,
    "swappiness": _uint64,
    "disableOOMKiller": _item3,
    "useHierarchy": _item3,
    "checkBeforeUpdate": _item3,
}
_MEMBERS46_TABLE: dict[str, Callable[[Any], bool]] = {
    "unified": _stringMap,
    "devices": _item47,
    "pids": _item52,
    "blockIO": _item54,
    "cpu": _item61,
    "hugepageLimits": _item63,
    "memory": _item66,
    "network": _item68,
    "rdma": _item72,
}
_MEMBERS76_TABLE: dict[str, Callable[[Any], bool]] = {
    "closID": _item10,
    "schemata": _strings,
    "l3CacheSchema": _item10,
    "memBwSchema": _item10,
    "enableCMT": _item3,
    "enableMBM": _item3,
    "enableMonitoring": _item3,
}
_MEMBERS77_TABLE: dict[str, Callable[[Any], bool]] = {
    "defaultAction": _seccompAction,
    "defaultErrnoRet": _uint32,
    "flags": _strings,
    "listenerPath": _item10,
    "listenerMetadata": _item10,
    "architectures": _item78,
    "syscalls": _item80,
}
_MEMBERS34_TABLE: dict[str, Callable[[Any], bool]] = {
    "namespaces": _item35,
    "uidMappings": _idMappings,
    "gidMappings": _idMappings,
    "timeOffsets": _item37,
    "devices": _item40,
    "netDevices": _item43,
    "cgroupsPath": _item10,
    "resources": _resources,
    "intelRdt": _item75,
    "sysctl": _stringMap,
    "seccomp": _seccomp,
    "rootfsPropagation": _item85,
    "maskedPaths": _strings,
    "readonlyPaths": _strings,
    "mountLabel": _item10,
    "personality": _item86,
    "memoryPolicy": _item88,
}
_MEMBERS97_TABLE: dict[str, Callable[[Any], bool]] = {
    "setHostname": _item3,
    "rawSockets": _item3,
    "chflags": _item3,
    "mount": _item98,
    "quotas": _item3,
    "socketAf": _item3,
    "reservedPorts": _item3,
    "suser": _item3,
}
_MEMBERS94_TABLE: dict[str, Callable[[Any], bool]] = {
    "parent": _item10,
    "host": _sharingNoDisable,
    "ip4": _sharing,
    "ip6": _sharing,
    "vnet": _sharingNoDisable,
    "sysvmsg": _sharing,
    "sysvsem": _sharing,
    "sysvshm": _sharing,
    "enforceStatfs": _item95,
    "allow": _item96,
}
_MEMBERS0_TABLE: dict[str, Callable[[Any], bool]] = {
    "ociVersion": _item1,
    "process": _process,
    "root": _item26,
    "hostname": _item10,
    "domainname": _item10,
    "mounts": _item28,
    "hooks": _item31,
    "annotations": _stringMap,
    "linux": _linux,
    "freebsd": _item90,
}
_MEMBERS103_TABLE: dict[str, Callable[[Any], bool]] = {
    "v1": _item3,
    "v2": _item3,
    "systemd": _item3,
    "systemdUser": _item3,
    "rdma": _item3,
}
_MEMBERS105_TABLE: dict[str, Callable[[Any], bool]] = {
    "enabled": _item3,
    "actions": _strings,
    "operators": _strings,
    "archs": _strings,
    "knownFlags": _strings,
    "supportedFlags": _strings,
}
_MEMBERS101_TABLE: dict[str, Callable[[Any], bool]] = {
    "namespaces": _strings,
    "capabilities": _strings,
    "cgroup": _item102,
    "seccomp": _item104,
    "apparmor": _item106,
    "selinux": _item106,
    "intelRdt": _item108,
    "mountExtensions": _item110,
    "netDevices": _item106,
    "memoryPolicy": _item112,
}
_MEMBERS99_TABLE: dict[str, Callable[[Any], bool]] = {
    "ociVersionMin": _item10,
    "ociVersionMax": _item10,
    "hooks": _strings,
    "mountOptions": _strings,
    "linux": _item100,
    "annotations": _stringMap,
    "potentiallyUnsafeConfigAnnotations": _strings,
}
_MEMBERS114_TABLE: dict[str, Callable[[Any], bool]] = {
    "ociVersion": _item1,
    "id": _item115,
    "status": _item116,
    "pid": _item117,
    "bundle": _path,
    "annotations": _stringMap,
}
