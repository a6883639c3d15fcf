# SPDX-License-Identifier: MIT
llmos_test(NAME device LABEL unit SOURCES device_lane.cpp)
