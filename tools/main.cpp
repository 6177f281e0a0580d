#include "core/log.h"

int main() { hg::init_logging(); }
