// Posts the response of an authorization request to its application (OAuth 2.0 Form Post Response Mode §2). Without
// scripts, the user presses the button.
'use strict';

document.getElementById('response').submit();
