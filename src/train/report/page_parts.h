// The files of src/train/report/page, and the charting library, as CMake puts them into the
// program.
#pragma once

namespace hg::page {

extern const char* const kTemplate;  // page.html
extern const char* const kStyle;     // style.css
extern const char* const kCharts;    // charts.js
extern const char* const kMaps;      // maps.js
extern const char* const kScript;    // page.js
extern const char* const kLibrary;   // Chart.js

}  // namespace hg::page
