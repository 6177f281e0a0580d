// What ThreadSanitizer must not report: Debian's oneDNN is not instrumented, so that the locks of
// its cache of primitives, which ranks that are threads share, are not seen.
#if defined(HEADGATE_STD_THREADS)
extern "C" const char* __tsan_default_suppressions();
extern "C" const char* __tsan_default_suppressions() { return "race:libdnnl.so\nrace:^dnnl::\n"; }
#endif
