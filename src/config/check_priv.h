/* check_priv.h - between check.c (objects, lists) and check_value.c (single values). */
#pragma once

#include "config_priv.h"

void wrong_type(struct loader *l, const struct node *node, const char *wanted);
void check_scalar(struct loader *l, const struct node *node, const struct config_option *option);
